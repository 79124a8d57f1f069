package places_test

import (
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// serveDNS answers questions until conn is closed. A name that is not in txt does not exist, and one with nil fails. Every name has the
// address 127.0.0.1.
func serveDNS(conn net.PacketConn, txt map[string][]string) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
			continue
		}
		reply := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true},
			Questions: m.Questions,
		}
		q := m.Questions[0]
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
		switch list, known := txt[q.Name.String()]; {
		case q.Type == dnsmessage.TypeA:
			reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		case q.Type != dnsmessage.TypeTXT:
		case !known:
			reply.RCode = dnsmessage.RCodeNameError
		case list == nil:
			reply.RCode = dnsmessage.RCodeServerFailure
		default:
			for _, text := range list {
				var parts []string // of at most 255 bytes each
				for ; len(text) > 255; text = text[255:] {
					parts = append(parts, text[:255])
				}
				reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.TXTResource{TXT: append(parts, text)}})
			}
		}
		if packed, err := reply.Pack(); err == nil {
			_, _ = conn.WriteTo(packed, from)
		}
	}
}
