package introspect

import (
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/internal/jose"
)

// feedSilence is for how long the issuer may not have said that the follower knows every event, while answers are kept because of that.
const feedSilence = 45 * time.Second

// kept returns the answer about a token from the cache, if it may be used.
func (c *Client) kept(key answerKey) (Result, bool) {
	k, mark := c.cache.get(key)
	if k == nil {
		return Result{}, false
	}
	now := c.cfg.Now()
	if now.Before(k.asked) || !now.Before(k.last) { // the clock was set back, or the answer is of no use any more
		c.cache.dropThis(k)
		return Result{}, false
	}
	fresh := now.Before(k.fresh) ||
		now.Before(k.followed) && c.cfg.Follower.Alive(now, feedSilence) && c.cfg.Follower.Covers(k.domain)
	if !fresh || c.ended(k, mark) {
		return Result{}, false
	}
	return Result{Answer: k.at(now)}, true
}

// stale returns an answer that is older than it should be, if there is one that may be used in an outage.
func (c *Client) stale(key answerKey) (Result, bool) {
	k, mark := c.cache.get(key)
	if c.cfg.Grace == 0 || k == nil || !k.answer.Active {
		return Result{}, false
	}
	now := c.cfg.Now()
	if now.Before(k.asked) || !now.Before(k.last) || c.ended(k, mark) {
		return Result{}, false
	}
	return Result{Answer: k.at(now), Stale: true}, true
}

// ended reports whether an event since a mark has ended the token of an answer, or may have. It drops such an answer.
func (c *Client) ended(k *keptAnswer, mark feed.Mark) bool {
	if c.cfg.Follower == nil || !k.answer.Active {
		return false
	}
	now := c.cfg.Follower.Mark()
	if now == mark {
		return false
	}
	if c.cfg.Follower.Ended(mark, k.subject) {
		c.cache.dropThis(k)
		return true
	}
	c.cache.moveMark(k, now)
	return false
}

// mark returns the moment in the feed before a question is sent.
func (c *Client) mark() feed.Mark {
	if c.cfg.Follower == nil {
		return feed.Mark{}
	}
	return c.cfg.Follower.Mark()
}

// overtaken reports whether an event since a mark may have ended the token of an answer. Without a feed at that moment it is not known,
// and answers are as new as without a follower.
func (c *Client) overtaken(mark feed.Mark, s feed.Subject) bool {
	return mark != feed.Mark{} && c.cfg.Follower.Mark() != mark && c.cfg.Follower.Ended(mark, s)
}

// subjectOf returns what events can match of an answer about a token.
func (c *Client) subjectOf(a *Answer, token string) feed.Subject {
	if c.cfg.Follower == nil || !a.Active {
		return feed.Subject{}
	}
	s := feed.Subject{JTI: a.JTI, SID: a.SID, Device: a.Device, Sub: a.Subject, ClientID: a.ClientID}
	if jws, err := jose.ParseCompact(token, jose.Limits{}); err == nil {
		s.KID = jws.Header.Kid
	}
	return s
}

// keep puts an answer into the cache, in place of the last one about the same token. Size is that of its text.
func (c *Client) keep(a *asking, answer *Answer, size int) {
	k := &keptAnswer{key: a.key, answer: *answer, size: keptOverhead + 2*size, asked: a.asked, mark: a.mark}
	if !answer.Active {
		if c.cfg.RefusalAge < 0 {
			c.cache.drop(a.key)
			return
		}
		k.fresh = a.asked.Add(c.cfg.RefusalAge)
		k.last = k.fresh
		c.cache.put(k, a.generation)
		return
	}
	if c.cfg.MaxAge < 0 || answer.MaxAge == 0 {
		c.cache.drop(a.key)
		return
	}
	expires := a.asked.Add(time.Duration(answer.ExpiresIn) * time.Second)
	if exp := time.Unix(answer.ExpiresAt, 0); answer.ExpiresAt != 0 && exp.Before(expires) {
		expires = exp
	}
	until := func(age time.Duration) time.Time {
		if t := a.asked.Add(age); t.Before(expires) {
			return t
		}
		return expires
	}
	age := min(time.Duration(answer.MaxAge)*time.Second, c.cfg.MaxAge)
	k.fresh, k.subject = until(age), c.subjectOf(answer, a.token)
	if c.cfg.FollowedAge > age && (a.mark != feed.Mark{}) {
		if domain, ok := followable(answer, k.subject); ok {
			k.followed, k.domain, age = until(c.cfg.FollowedAge), domain, c.cfg.FollowedAge
		}
	}
	k.last = until(age + c.cfg.Grace)
	c.cache.put(k, a.generation)
}

// followable returns the domain of the user of a token, and whether the feed of that domain tells of everything that can end the token:
// not if other tokens are part of it, and not if the answer withholds what events name.
func followable(a *Answer, s feed.Subject) (string, bool) {
	if len(a.Tokens) > 0 || a.Actor != nil || s.JTI == "" || s.SID == "" || s.Device == "" || s.ClientID == "" || s.KID == "" {
		return "", false
	}
	id, err := (claims.Parser{AllowSingleLabel: true}).Parse(s.Sub)
	if err != nil {
		return "", false
	}
	return id.Domain(), true
}
