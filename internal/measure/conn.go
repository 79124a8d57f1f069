package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// A conn sends prepared HTTP/1.1 requests over one connection. It understands only answers that have a Content-Length, and
// does as little as possible: the load must cost less than the server, or the server waits for it.
type conn struct {
	to   net.Conn
	in   *bufio.Reader
	head int // bytes before the body of the last answer
	body []byte
}

func dial(ctx context.Context, addr string) (*conn, error) {
	to, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{to: to, in: bufio.NewReaderSize(to, 16<<10)}, nil
}

func (c *conn) close() { _ = c.to.Close() }

// do sends a request and returns the body of the answer, which must be 200. The body is valid until the next call.
func (c *conn) do(request []byte) ([]byte, error) {
	if _, err := c.to.Write(request); err != nil {
		return nil, err
	}
	status, err := c.read()
	if err != nil {
		return nil, err
	}
	if status != 200 {
		line, _, _ := bytes.Cut(request, []byte("\r\n"))
		return nil, &statusError{status, string(line), string(c.body)}
	}
	return c.body, nil
}

// A statusError is an answer other than 200.
type statusError struct {
	status        int
	request, body string
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: %d %s", e.request, e.status, e.body) }

var contentLength = []byte("content-length:")

// read reads an answer. Its body is in c.body then.
func (c *conn) read() (status int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errors.New("the answer is not HTTP/1.1")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, errors.New("the answer has no status")
	}
	c.head = len(line)
	length := -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		c.head += len(line)
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil || length < 0 {
				return 0, errors.New("the answer has a wrong Content-Length")
			}
		}
	}
	if length < 0 {
		return 0, errors.New("the answer has no Content-Length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err = io.ReadFull(c.in, c.body)
	return status, err
}

// A pool keeps connections to one address from window to window.
type pool struct {
	addr  string
	conns []*conn
}

// take returns n connections. Callers use them at the same time, each from one goroutine.
func (p *pool) take(ctx context.Context, n int) ([]*conn, error) {
	for len(p.conns) < n {
		c, err := dial(ctx, p.addr)
		if err != nil {
			return nil, err
		}
		p.conns = append(p.conns, c)
	}
	return p.conns[:n], nil
}

func (p *pool) close() {
	for _, c := range p.conns {
		c.close()
	}
}
