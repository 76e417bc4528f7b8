//! How it survives: write-ahead log, segments, checkpoints, recovery, group commit; the embeddable engine.
