package main

import (
	"time"

	"github.com/gomodule/redigo/redis"
)

// The example of docs/clients.md, word for word: a test of xtask compares both.
func guide() (redis.Conn, []interface{}, error) {
	reader, err := redis.Dial("tcp", "127.0.0.1:6379", redis.DialReadTimeout(30*time.Second))
	streams, err := redis.Values(reader.Do("XREADGROUP", "GROUP", "billing", "one", "BLOCK", 5000,
		"STREAMS", "orders", ">"))
	return reader, streams, err
}

// It compiles; it would ask the port that it names.
var _ = guide
