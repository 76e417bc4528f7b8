// Everything that a Go program does with streams through redigo: HOST PORT [PROTOCOL].
//
// redigo speaks RESP2 and has no methods for single commands: arguments go as they are, replies come
// as nested slices. The order matters: later checks use what earlier ones left in the streams.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Longest wait for something that another connection must do first.
const waitMax = 20 * time.Second

var address string

type check struct {
	name string
	run  func(one redis.Conn)
}

var checks = []check{
	{"greeting", greeting},
	{"publish", publish},
	{"range", ranges},
	{"group", group},
	{"blocked reads", blocked},
	{"pending", pending},
	{"claim", claim},
	{"acknowledge", acknowledge},
	{"trim and delete", trimAndDelete},
	{"publish and subscribe", publishAndSubscribe},
	{"transaction", transaction},
	{"strings", stringKeys},
	{"binary data", binary},
	{"errors", errorReplies},
	{"reconnect and quit", reconnectAndQuit},
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: HOST PORT [PROTOCOL]")
		os.Exit(1)
	}
	address = net.JoinHostPort(os.Args[1], os.Args[2])
	one := connect()
	do(one, "FLUSHALL")
	failed := 0
	for _, check := range checks {
		if seen := attempt(check, one); seen != nil {
			fmt.Printf("FAILED %s\n%v\n", check.name, seen)
			failed++
			continue
		}
		fmt.Printf("ok %s\n", check.name)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// Runs one check. What it panics with is what differed.
func attempt(check check, one redis.Conn) (seen interface{}) {
	defer func() { seen = recover() }()
	check.run(one)
	return nil
}

func connect() redis.Conn {
	one, err := redis.Dial("tcp", address, redis.DialReadTimeout(30*time.Second))
	if err != nil {
		panic(err)
	}
	return one
}

// Sends one command and answers its reply, byte strings as strings.
func do(one redis.Conn, name string, arguments ...interface{}) interface{} {
	reply, err := one.Do(name, arguments...)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	return plain(reply)
}

func plain(reply interface{}) interface{} {
	switch value := reply.(type) {
	case []byte:
		return string(value)
	case []interface{}:
		list := make([]interface{}, len(value))
		for at := range value {
			list[at] = plain(value[at])
		}
		return list
	}
	return reply
}

// Short for a nested reply.
type list = []interface{}

func equal(seen, expected interface{}) {
	if !reflect.DeepEqual(seen, expected) {
		panic(fmt.Sprintf("expected %#v, saw %#v", expected, seen))
	}
}

func fails(err error, text string) {
	if err == nil || !strings.HasPrefix(err.Error(), text) {
		panic(fmt.Sprintf("expected %q, saw %v", text, err))
	}
}

func until(what string, fact func() bool) {
	for deadline := time.Now().Add(waitMax); time.Now().Before(deadline); {
		if fact() {
			return
		}
	}
	panic("waited too long for: " + what)
}

// An entry with one field.
func entry(id, field, value string) list { return list{id, list{field, value}} }

func number(n int64) interface{} { return n }

func greeting(one redis.Conn) {
	equal(do(one, "PING"), "PONG")
	equal(strings.Contains(do(one, "CLIENT", "INFO").(string), " resp=2"), true)
}

func publish(one redis.Conn) {
	equal(do(one, "XADD", "s", "1-1", "n", 1), "1-1")
	equal(do(one, "XADD", "s", "1-*", "n", 2, "m", "two"), "1-2")
	for n := 3; n < 103; n++ {
		one.Send("XADD", "s", fmt.Sprintf("%d-0", n), "n", n)
	}
	one.Flush()
	for n := 3; n < 103; n++ {
		id, err := redis.String(one.Receive())
		equal(err, nil)
		equal(id, fmt.Sprintf("%d-0", n))
	}
	equal(do(one, "XLEN", "s"), number(102))
	equal(do(one, "XADD", "absent", "NOMKSTREAM", "*", "n", 1), nil)
}

func ranges(one redis.Conn) {
	two := list{entry("1-1", "n", "1"), list{"1-2", list{"n", "2", "m", "two"}}}
	equal(do(one, "XRANGE", "s", "-", "+", "COUNT", 2), two)
	equal(do(one, "XRANGE", "s", "(1-1", "3"), list{two[1], entry("3-0", "n", "3")})
	equal(do(one, "XREVRANGE", "s", "+", "-", "COUNT", 1), list{entry("102-0", "n", "102")})
	equal(do(one, "XREAD", "STREAMS", "s", "101-0"), list{list{"s", list{entry("102-0", "n", "102")}}})
	equal(do(one, "XREAD", "STREAMS", "s", "102-0"), nil)
	info, err := redis.Values(one.Do("XINFO", "STREAM", "s"))
	equal(err, nil)
	equal(info[1], number(102))
}

func group(one redis.Conn) {
	equal(do(one, "XGROUP", "CREATE", "s", "g", "0"), "OK")
	_, err := one.Do("XGROUP", "CREATE", "s", "g", "0")
	fails(err, "BUSYGROUP Consumer Group name already exists")
	equal(do(one, "XGROUP", "CREATE", "made", "g", "$", "MKSTREAM"), "OK")
	fresh := do(one, "XREADGROUP", "GROUP", "g", "alice", "COUNT", 2, "STREAMS", "s", ">")
	two := list{entry("1-1", "n", "1"), list{"1-2", list{"n", "2", "m", "two"}}}
	equal(fresh, list{list{"s", two}})
	equal(do(one, "XREADGROUP", "GROUP", "g", "alice", "STREAMS", "s", "0"), fresh)
	groups := do(one, "XINFO", "GROUPS", "s").(list)
	equal(groups[0].(list)[:6], list{"name", "g", "consumers", number(1), "pending", number(2)})
}

func blocked(one redis.Conn) {
	do(one, "XGROUP", "CREATE", "w", "g", "$", "MKSTREAM")
	replies := make(chan interface{}, 2)
	read := func(name string, arguments ...interface{}) {
		reader := connect()
		defer reader.Close()
		reply, err := reader.Do(name, arguments...)
		if err != nil {
			reply = err
		}
		replies <- plain(reply)
	}
	go read("XREAD", "BLOCK", 0, "STREAMS", "w", "$")
	go read("XREADGROUP", "GROUP", "g", "c", "BLOCK", 20000, "STREAMS", "w", ">")
	until("2 blocked clients", func() bool {
		return strings.Contains(do(one, "INFO", "clients").(string), "blocked_clients:2\r\n")
	})
	do(one, "XADD", "w", "5-5", "wake", "up")
	expected := list{list{"w", list{entry("5-5", "wake", "up")}}}
	equal(<-replies, expected)
	equal(<-replies, expected)
	equal(do(one, "XREAD", "BLOCK", 10, "STREAMS", "w", "$"), nil)
}

func pending(one redis.Conn) {
	expected := list{number(2), "1-1", "1-2", list{list{"alice", "2"}}}
	equal(do(one, "XPENDING", "s", "g"), expected)
	first := do(one, "XPENDING", "s", "g", "-", "+", 1, "alice").(list)[0].(list)
	equal(list{first[0], first[1], first[3]}, list{"1-1", "alice", number(2)})
}

func claim(one redis.Conn) {
	equal(do(one, "XCLAIM", "s", "g", "bob", 0, "1-1"), list{entry("1-1", "n", "1")})
	equal(do(one, "XAUTOCLAIM", "s", "g", "dave", 0, "1-2", "JUSTID"),
		list{"0-0", list{"1-2"}, list{}})
	equal(do(one, "XAUTOCLAIM", "s", "g", "dave", 3600000, "0"), list{"0-0", list{}, list{}})
}

func acknowledge(one redis.Conn) {
	equal(do(one, "XACK", "s", "g", "1-1", "99-9"), number(1))
	equal(do(one, "XGROUP", "DELCONSUMER", "s", "g", "dave"), number(1))
	equal(do(one, "XPENDING", "s", "g"), list{number(0), nil, nil, nil})
	equal(do(one, "XGROUP", "DESTROY", "made", "g"), number(1))
}

func trimAndDelete(one redis.Conn) {
	equal(do(one, "XDEL", "s", "1-1", "99-9"), number(1))
	equal(do(one, "XTRIM", "s", "MAXLEN", 50), number(51))
	equal(do(one, "XTRIM", "s", "MINID", "60-0"), number(7))
	equal(do(one, "XADD", "s", "MAXLEN", "=", 10, "103-0", "n", 103), "103-0")
	equal(do(one, "XLEN", "s"), number(10))
	equal(do(one, "DEL", "s", "w", "absent"), number(2))
}

func publishAndSubscribe(one redis.Conn) {
	subscriber := redis.PubSubConn{Conn: connect()}
	defer subscriber.Close()
	equal(subscriber.Subscribe("news"), nil)
	equal(subscriber.PSubscribe("room.*"), nil)
	equal(subscriber.Receive(), redis.Subscription{Kind: "subscribe", Channel: "news", Count: 1})
	equal(subscriber.Receive(), redis.Subscription{Kind: "psubscribe", Channel: "room.*", Count: 2})
	equal(do(one, "PUBLISH", "news", "hello"), number(1))
	equal(subscriber.Receive(), redis.Message{Channel: "news", Data: []byte("hello")})
	do(one, "PUBLISH", "room.7", []byte{0, 255})
	message := redis.Message{Channel: "room.7", Pattern: "room.*", Data: []byte{0, 255}}
	equal(subscriber.Receive(), message)
	equal(subscriber.Ping("still here"), nil)
	equal(subscriber.Receive(), redis.Pong{Data: "still here"})
	equal(subscriber.Unsubscribe("news"), nil)
	equal(subscriber.Receive(), redis.Subscription{Kind: "unsubscribe", Channel: "news", Count: 1})
	equal(do(one, "PUBLISH", "news", "gone"), number(0))
}

func transaction(one redis.Conn) {
	one.Send("MULTI")
	one.Send("XADD", "t", "1-0", "n", 1)
	one.Send("SET", "count", 1)
	one.Send("INCR", "count")
	equal(do(one, "EXEC"), list{"1-0", "OK", number(2)})
	other := connect()
	defer other.Close()
	do(other, "WATCH", "count")
	do(one, "INCR", "count")
	other.Send("MULTI")
	other.Send("XADD", "t", "*", "n", 2)
	equal(do(other, "EXEC"), nil)
	equal(do(one, "XLEN", "t"), number(1))
	// A failed command of a transaction does not undo the others.
	one.Send("MULTI")
	one.Send("SET", "count", 9)
	one.Send("XADD", "count", "*", "n", 1)
	replies := do(one, "EXEC").(list)
	var wrong redis.Error
	equal(replies[0], "OK")
	equal(errors.As(replies[1].(error), &wrong), true)
}

func stringKeys(one redis.Conn) {
	equal(do(one, "SET", "k", "v", "EX", 100), "OK")
	left := do(one, "TTL", "k").(int64)
	equal(98 <= left && left <= 100, true)
	equal(do(one, "SET", "k", "other", "NX"), nil)
	equal(do(one, "PERSIST", "k"), number(1))
	equal(do(one, "INCRBY", "n", 5), number(5))
	equal(do(one, "MGET", "k", "absent", "n"), list{"v", nil, "5"})
	do(one, "SET", "short", "x", "PX", 1)
	until("the key has expired", func() bool { return do(one, "EXISTS", "short") == number(0) })
}

func binary(one redis.Conn) {
	every := make([]byte, 256)
	for at := range every {
		every[at] = byte(at)
	}
	large := bytes.Repeat(every, 4096)
	do(one, "XADD", "b", "1-0", every, every, "", "")
	do(one, "XADD", "b", "2-0", "large", large)
	equal(do(one, "XRANGE", "b", "-", "+"), list{
		list{"1-0", list{string(every), string(every), "", ""}}, entry("2-0", "large", string(large)),
	})
}

func errorReplies(one redis.Conn) {
	do(one, "SET", "string", "x")
	_, err := one.Do("XADD", "string", "*", "n", 1)
	fails(err, "WRONGTYPE Operation against a key holding the wrong kind of value")
	var reply redis.Error
	equal(errors.As(err, &reply), true)
	_, err = one.Do("XREADGROUP", "GROUP", "no", "c", "STREAMS", "b", ">")
	fails(err, "NOGROUP No such key 'b' or consumer group 'no' in XREADGROUP with GROUP option")
	_, err = one.Do("XADD", "b", "1-0", "n", 1)
	fails(err, "ERR The ID specified in XADD is equal or smaller than the target stream top item")
	_, err = one.Do("NOSUCH", "a")
	fails(err, "ERR unknown command 'NOSUCH', with args beginning with: 'a' ")
	equal(one.Err(), nil)
}

func reconnectAndQuit(one redis.Conn) {
	pool := &redis.Pool{
		Dial:         func() (redis.Conn, error) { return redis.Dial("tcp", address) },
		TestOnBorrow: func(idle redis.Conn, _ time.Time) error { _, err := idle.Do("PING"); return err },
		MaxIdle:      1,
	}
	defer pool.Close()
	victim := pool.Get()
	id := do(victim, "CLIENT", "ID").(int64)
	victim.Close()
	equal(do(one, "CLIENT", "KILL", "ID", id), number(1))
	next := pool.Get()
	equal(do(next, "CLIENT", "ID").(int64) > id, true)
	equal(do(next, "QUIT"), "OK")
	_, err := next.Do("PING")
	equal(err != nil, true)
	next.Close()
}
