//! How it is spoken: an incremental, sans-io RESP2 and RESP3 codec for servers.
