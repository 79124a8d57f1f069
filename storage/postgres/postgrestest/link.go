package postgrestest

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// A Link stands between clients and a server, as a network does: it can be cut, and go silent, and lead to another server.
type Link struct {
	dir string
	l   net.Listener

	mu     sync.Mutex
	server *Server
	state  linkState
	conns  map[*linked]bool
	mended chan struct{} // closed unless the link is silent
}

type linkState int

const (
	linkOpen linkState = iota
	linkCut
	linkSilent
)

// A linked is one connection through a link.
type linked struct{ client, server net.Conn }

func (c *linked) close() {
	c.client.Close()
	c.server.Close()
}

// NewLink returns a link to a server, which must be closed.
func NewLink(s *Server) (*Link, error) {
	k := &Link{server: s, conns: make(map[*linked]bool), mended: make(chan struct{})}
	close(k.mended)
	var err error
	if k.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return nil, err
	}
	if k.l, err = net.Listen("unix", filepath.Join(k.dir, ".s.PGSQL.5432")); err != nil {
		return nil, err
	}
	go func() {
		for {
			client, err := k.l.Accept()
			if err != nil {
				return
			}
			go k.serve(client)
		}
	}()
	return k, nil
}

// URL returns the URL of a database behind the link.
func (k *Link) URL(database string) string {
	return "postgres://issuer@/" + database + "?host=" + k.dir
}

// Cut ends all connections, and refuses new ones.
func (k *Link) Cut() { k.set(linkCut, nil) }

// Silence leaves all connections open, and nothing gets through them in either direction, as in a network that loses all packets.
func (k *Link) Silence() { k.set(linkSilent, nil) }

// Mend lets everything through again. Bytes that were sent while the link was silent arrive now.
func (k *Link) Mend() { k.set(linkOpen, nil) }

// Lead makes the link lead to another server, and ends the connections to the one before.
func (k *Link) Lead(s *Server) {
	k.set(linkCut, s)
	k.set(linkOpen, nil)
}

// Close ends the link.
func (k *Link) Close() {
	k.Cut()
	k.l.Close()
	os.RemoveAll(k.dir)
}

func (k *Link) set(state linkState, server *Server) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if server != nil {
		k.server = server
	}
	if k.state == linkSilent && state != linkSilent {
		close(k.mended)
	}
	if k.state != linkSilent && state == linkSilent {
		k.mended = make(chan struct{})
	}
	k.state = state
	if state == linkCut {
		for c := range k.conns {
			c.close()
		}
	}
}

// now returns the state, the server, and what to wait for before bytes are passed on.
func (k *Link) now() (linkState, *Server, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state, k.server, k.mended
}

func (k *Link) serve(client net.Conn) {
	defer client.Close()
	_, _, mended := k.now()
	<-mended
	state, server, _ := k.now()
	if state == linkCut {
		return
	}
	up, err := server.Dial()
	if err != nil {
		return
	}
	c := &linked{client, up}
	k.mu.Lock()
	k.conns[c] = true
	cut := k.state == linkCut || k.server != server
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.conns, c)
		k.mu.Unlock()
		c.close()
	}()
	if cut {
		return
	}
	go func() {
		defer c.close()
		k.pass(client, up)
	}()
	k.pass(up, client)
}

// pass copies bytes, except while the link is silent.
func (k *Link) pass(to io.Writer, from io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		_, _, mended := k.now()
		<-mended
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
