package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/dns/dnsmessage"
)

// web serves a part of the web on loopback, by TLS, for the arguments FOLDER FRONT HOST...: the file FOLDER/HOST/PATH is the answer of a host
// at a path, and FOLDER/dns/NAME the TXT record of a name. FRONT passes requests on to the issuer, unless it has a file. WEB and DNS become the
// addresses, and FOLDER/ca.pem the CA.
func web(ts *testscript.TestScript, args []string) error {
	folder, front := ts.MkAbs(args[0]), args[1]
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: args[1:], NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(folder, "ca.pem"), ca, 0o600); err != nil {
		return err
	}
	listen := ts.Getenv("LISTEN")
	issuer := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: listen})
	}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := os.ReadFile(filepath.Join(folder, r.Host, filepath.FromSlash(r.URL.Path)))
		switch {
		case err == nil:
			w.Header().Set("Content-Type", r.Header.Get("Accept"))
			_, _ = w.Write(body)
		case r.Host == front:
			issuer.ServeHTTP(w, r)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	ts.Defer(s.Close)
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ts.Defer(func() { _ = dns.Close() })
	go answerRecords(dns, filepath.Join(folder, "dns"))
	ts.Setenv("WEB", s.Listener.Addr().String())
	ts.Setenv("DNS", dns.LocalAddr().String())
	return nil
}

// answerRecords answers questions for TXT records with the files of a folder.
func answerRecords(conn net.PacketConn, folder string) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
		text, err := os.ReadFile(filepath.Join(folder, filepath.Base(strings.TrimSuffix(q.Name.String(), "."))))
		if err != nil {
			reply.RCode = dnsmessage.RCodeNameError
		} else if q.Type == dnsmessage.TypeTXT {
			reply.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
				Body:   &dnsmessage.TXTResource{TXT: []string{strings.TrimSpace(string(text))}},
			}}
		}
		packed, err := reply.Pack()
		if err != nil {
			panic(fmt.Sprintf("pack the answer of the DNS server: %v", err))
		}
		_, _ = conn.WriteTo(packed, from)
	}
}
