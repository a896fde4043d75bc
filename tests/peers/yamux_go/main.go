// The other side of tests/peers/yamux_peer.c, on Hashicorp's yamux in Go: the same services and the
// same scenario, over the socket that is standard input.
//
//	yamux_go client|server active|passive
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// fill writes the bytes that both sides know: a linear congruence, high byte.
func fill(p []byte, state *uint32) {
	for i := range p {
		*state = *state*1664525 + 1013904223
		p[i] = byte(*state >> 24)
	}
}

type service struct {
	session *yamux.Session
	resets  int32
	release chan struct{}
}

func (s *service) note(err error) {
	if err != nil && err != io.EOF {
		atomic.AddInt32(&s.resets, 1)
	}
}

func (s *service) sink(in io.Reader, st net.Conn) {
	h := fnv.New64a()
	n, err := io.Copy(h, in)
	s.note(err)
	fmt.Fprintf(st, "%d %016x\n", n, h.Sum64())
}

func (s *service) serve(st net.Conn) {
	defer st.Close()
	in := bufio.NewReaderSize(st, 64)
	line, err := in.ReadString('\n')
	if err != nil {
		s.note(err)
		return
	}
	word := append(strings.Fields(line), "0")
	n, _ := strconv.ParseInt(word[1], 10, 64)
	switch word[0] {
	case "echo":
		_, err := io.CopyN(st, in, n)
		s.note(err)
	case "sink":
		s.sink(io.LimitReader(in, n), st)
	case "hold":
		<-s.release
		s.sink(io.LimitReader(in, n), st)
	case "release":
		close(s.release)
		fmt.Fprintf(st, "released\n")
	case "source":
		state, block := uint32(n), make([]byte, 40000)
		for n > 0 {
			if n < int64(len(block)) {
				block = block[:n]
			}
			fill(block, &state)
			if _, err := st.Write(block); err != nil {
				s.note(err)
				return
			}
			n -= int64(len(block))
		}
	case "resets":
		fmt.Fprintf(st, "%d\n", atomic.LoadInt32(&s.resets))
	case "ping":
		_, err := s.session.Ping()
		fmt.Fprintf(st, "%v\n", err == nil)
	case "goaway":
		s.session.GoAway()
		fmt.Fprintf(st, "gone\n")
	}
}

func passive(session *yamux.Session) int {
	s := &service{session: session, release: make(chan struct{})}
	for {
		st, err := session.Accept()
		if err != nil {
			return 0
		}
		go s.serve(st)
	}
}

// ask opens a stream, says line and data, and returns everything that comes back. This yamux cannot read
// a stream that it has closed for writing, so the number of bytes is said first.
func ask(session *yamux.Session, line string, data []byte) ([]byte, error) {
	st, err := session.OpenStream()
	if err != nil {
		return nil, err
	}
	st.SetDeadline(time.Now().Add(60 * time.Second))
	defer st.Close()
	if len(data) > 0 {
		line = fmt.Sprintf("%s %d", line, len(data))
	}
	go st.Write(append([]byte(line+"\n"), data...))
	return io.ReadAll(st)
}

func digest(p []byte) string {
	h := fnv.New64a()
	h.Write(p)
	return fmt.Sprintf("%d %016x\n", len(p), h.Sum64())
}

func pattern(n int) []byte {
	p, state := make([]byte, n), uint32(n)
	fill(p, &state)
	return p
}

func expect(name string, got []byte, err error, want string) bool {
	if err != nil || string(got) != want {
		if len(got) > 60 {
			got = got[:60]
		}
		fmt.Printf("not ok - %s: %v, %q\n", name, err, got)
		return false
	}
	fmt.Printf("ok - %s\n", name)
	return true
}

func manyStreams(session *yamux.Session) bool {
	var wait sync.WaitGroup
	var bad int32
	for i := 0; i < 100; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			data := pattern(10000 + i)
			got, err := ask(session, "echo", data)
			if err != nil || !bytes.Equal(got, data) {
				atomic.AddInt32(&bad, 1)
			}
		}(i)
	}
	wait.Wait()
	return expect("100 streams echo", []byte(fmt.Sprint(bad)), nil, "0")
}

func exhaustWindow(session *yamux.Session, data []byte) bool {
	st, err := session.OpenStream()
	if err != nil {
		return expect("window", nil, err, "")
	}
	st.SetDeadline(time.Now().Add(60 * time.Second))
	written := make(chan error, 1)
	go func() {
		_, err := st.Write(append([]byte(fmt.Sprintf("hold %d\n", len(data))), data...))
		written <- err
	}()
	got, err := ask(session, "echo", []byte("still alive"))
	if !expect("echo beside a full window", got, err, "still alive") {
		return false
	}
	got, err = ask(session, "release", nil)
	if !expect("release", got, err, "released\n") {
		return false
	}
	got, err = io.ReadAll(st)
	if err == nil {
		err = <-written
	}
	st.Close()
	return expect("window emptied later", got, err, digest(data))
}

// MUX_STREAMS
const limit = 512

func tooMany(session *yamux.Session) bool {
	var open []*yamux.Stream
	refused, taken := 0, 0
	for i := 0; i < limit+4; i++ {
		st, err := session.OpenStream()
		if err != nil {
			return expect("open", nil, err, "")
		}
		st.SetDeadline(time.Now().Add(60 * time.Second))
		st.Write([]byte("resets\n"))
		open = append(open, st)
	}
	for _, st := range open {
		if got, err := bufio.NewReader(st).ReadString('\n'); err == nil && got == "0\n" {
			taken++
		} else {
			refused++
		}
	}
	for _, st := range open {
		st.Close()
	}
	return expect("streams beyond the limit are refused",
		[]byte(fmt.Sprint(taken, refused)), nil, fmt.Sprint(limit, 4))
}

func active(session *yamux.Session) int {
	big := pattern(16 << 20)
	good := manyStreams(session)
	got, err := ask(session, "sink", big)
	good = expect("16 MiB there", got, err, digest(big)) && good
	got, err = ask(session, fmt.Sprintf("source %d", len(big)), nil)
	good = expect("16 MiB back", []byte(digest(got)), err, digest(big)) && good
	got, err = ask(session, "echo", big[:4<<20])
	good = expect("4 MiB both ways", []byte(digest(got)), err, digest(big[:4<<20])) && good
	good = exhaustWindow(session, big[:1<<20]) && good
	got, err = ask(session, "ping", nil)
	good = expect("they ping", got, err, "true\n") && good
	_, err = session.Ping()
	good = expect("we ping", nil, err, "") && good
	good = tooMany(session) && good
	got, err = ask(session, "goaway", nil)
	good = expect("go away", got, err, "gone\n") && good
	_, err = session.OpenStream()
	good = expect("no stream after it", []byte(fmt.Sprint(err)), nil,
		yamux.ErrRemoteGoAway.Error()) && good
	if good {
		return 0
	}
	return 1
}

func main() {
	conn, err := net.FileConn(os.Stdin)
	if err != nil || len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: yamux_go client|server active|passive <socket", err)
		os.Exit(2)
	}
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	config.ConnectionWriteTimeout = 60 * time.Second
	start := yamux.Server
	if os.Args[1] == "client" {
		start = yamux.Client
	}
	session, err := start(conn, config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if os.Args[2] == "active" {
		status := active(session)
		session.Close()
		os.Exit(status)
	}
	os.Exit(passive(session))
}
