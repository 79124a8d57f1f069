package faults_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

// login logs the user in, with the device that was used before or a new one, until that succeeds or the user shall stop.
func (u *user) login() {
	var d *device
	if n := len(u.past); n > 0 && u.random.IntN(2) == 0 {
		d = u.past[n-1].device
	}
	for !u.stopped() {
		if d == nil || isAsked(time.Now(), &d.end) {
			d = newDevice()
		}
		verifier := rand.Text() + rand.Text()
		challenge := sha256.Sum256([]byte(verifier))
		start := u.cluster.issuer + "/authorize?" + url.Values{
			"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {redirectURI}, "state": {"state"},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
			"dpop_jkt": {d.signer.JKT()}, "scope": {"im:handle im:device account"}, "im_device_name": {u.person + "'s laptop"},
		}.Encode()
		to := &recorder{cluster: u.cluster}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		back, err := browser.New(to).Login(ctx, start, browser.To(redirectURI), map[string]string{"text": u.person, "password": u.person})
		cancel()
		switch {
		case err != nil && to.failed:
			u.ledger.add("logins begun again because a page was not served", 1)
			time.Sleep(u.between(50, 300))
			continue
		case err != nil:
			u.ledger.broken("login of %s: %v", u.person, err)
			time.Sleep(time.Second)
			continue
		case back.Query().Get("error") != "":
			switch code := back.Query().Get("error"); {
			case code == "temporarily_unavailable":
				u.ledger.add("logins that ended with temporarily_unavailable", 1)
			case code == "invalid_request" && isAsked(time.Now(), &d.end): // the other client has removed the device meanwhile
				u.ledger.add("logins of a device that was removed meanwhile", 1)
			default:
				u.ledger.broken("login of %s: %s %s", u.person, code, back.Query().Get("error_description"))
			}
			continue
		}
		form := url.Values{
			"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {redirectURI},
			"code_verifier": {verifier}, "client_id": {"app"},
		}
		if u.redeem(d, form) {
			return
		}
	}
}

// redeem redeems a code, sometimes at two nodes at once. It returns false if the code was spent by a request whose answer was lost.
func (u *user) redeem(d *device, form url.Values) bool {
	s := &session{device: d}
	r := request{kind: "code", path: "/token", form: form, device: d}
	var good, last *answer
	lost := 0
	if u.random.IntN(3) == 0 {
		r.kind = "code, at two nodes at once"
		nodes := u.random.Perm(len(u.cluster.nodes))[:2]
		requests := make(map[*node]request)
		for _, n := range nodes {
			requests[u.cluster.nodes[n]] = r
		}
		u.ledger.add("codes raced at two nodes", 1)
		for _, a := range u.everywhere(requests) {
			last = &a
			switch {
			case a.lost():
				lost++
			case a.ok() && good != nil:
				u.ledger.broken("a code of %s was accepted twice, by %s and %s", u.person, good.node, a.node)
			case a.ok():
				good = &a
			case a.code() != "invalid_grant":
				u.ledger.broken("a code of %s: %v", u.person, &a)
			}
		}
	}
	if good == nil {
		r.kind = "code"
		if last == nil || lost > 0 {
			a, more := u.insist(r)
			lost += more
			last = &a
		}
		if !last.ok() {
			if last.code() != "invalid_grant" || lost == 0 && !isAsked(time.Now(), &d.end) {
				u.ledger.broken("a code of %s that was not spent: %v", u.person, last)
			}
			u.ledger.add("codes that were spent by a request whose answer was lost", 1)
			return false
		}
		good = last
	}
	if !u.take(s, -1, good) {
		return false
	}
	u.codes = append(u.codes, redeemed{form, d})
	u.mu.Lock()
	u.session = s
	u.mu.Unlock()
	u.ledger.add("logins", 1)
	return true
}

// replayCode redeems a code at all nodes once more. The session that the code became goes on.
func (u *user) replayCode() {
	if len(u.codes) == 0 {
		return
	}
	u.replay(u.codes[len(u.codes)-1-u.random.IntN(min(3, len(u.codes)))])
}

func (u *user) replay(c redeemed) {
	requests := make(map[*node]request)
	for _, n := range u.cluster.nodes {
		requests[n] = request{kind: "replayed code", path: "/token", form: c.form, device: c.device}
	}
	for _, a := range u.everywhere(requests) {
		u.ledger.add("codes replayed at a node", 1)
		if !a.lost() && a.code() != "invalid_grant" {
			u.ledger.broken("a code of %s that was spent: %v", u.person, &a)
		}
	}
}
