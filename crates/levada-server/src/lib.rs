//! Who may speak to it: sockets, sessions, the command table.
