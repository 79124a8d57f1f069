package sasl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// MaxRequests is how many requests a helper works on at a time. Others wait.
	MaxRequests = 64
	// patience is how long the issuer has for an answer. Chat servers wait a little longer.
	patience = 15 * time.Second
)

// A Helper answers the requests of chat servers, one JSON object per line each. It is safe for concurrent use.
type Helper struct {
	checker *Checker
	log     *slog.Logger
	slots   chan struct{}
}

// NewHelper returns a helper. The log gets each result, and never a token or a presentation.
func NewHelper(c *Checker, log *slog.Logger) *Helper {
	return &Helper{c, log, make(chan struct{}, MaxRequests)}
}

// Serve reads requests from r and writes answers to w until r ends or ctx does. Requests are worked on concurrently, so answers may
// come in another order. It returns nil at the end of r and of ctx, and otherwise why it cannot read or write. A read that waits when
// ctx ends is not interrupted.
func (h *Helper) Serve(ctx context.Context, r io.Reader, w io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	lines, ended := make(chan []byte), make(chan error, 1)
	go func() { ended <- readLines(ctx, r, lines) }()
	var work sync.WaitGroup
	defer work.Wait()
	out := &lineWriter{w: w, failed: stop}
	for {
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		case err := <-ended:
			return err
		case line := <-lines:
			select {
			case h.slots <- struct{}{}:
			case <-ctx.Done():
				continue
			}
			work.Go(func() {
				defer func() { <-h.slots }()
				out.write(h.answer(ctx, line))
			})
		}
	}
}

// Listen serves each connection of a listener until ctx ends. It closes the listener.
func (h *Helper) Listen(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		} else if err != nil {
			_ = l.Close()
			return fmt.Errorf("sasl: accept a connection: %w", err)
		}
		work.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			if err := h.Serve(ctx, conn, conn); err != nil && ctx.Err() == nil {
				h.log.Warn("sasl: connection of a chat server", slog.Any("error", err))
			}
			_ = conn.Close()
		})
	}
}

// answer does the work of one request.
func (h *Helper) answer(ctx context.Context, line []byte) answer {
	if line == nil {
		return h.invalid("", fmt.Errorf("the line has more than %d bytes", maxLine))
	}
	r, err := parseRequest(line)
	var no *Refusal
	if err != nil && !errors.As(err, &no) {
		return h.invalid(r.id, err)
	}
	if r.op == "start" {
		c, err := h.checker.Challenge(r.domain)
		if err != nil {
			return h.invalid(r.id, errors.New("domain: not one of this helper"))
		}
		return answer{Version: Version, ID: r.id, Result: resultChallenge, Nonce: c.Nonce, Challenge: c.text()}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var identity *Identity
	if no != nil { // the message is malformed: its challenge is used up too
		h.checker.Abandon(r.nonce)
	} else {
		identity, err = h.checker.Check(ctx, r.nonce, *r.message, r.account)
	}
	a := newAnswer(r.id, identity, err)
	switch a.Result {
	case resultYes:
		h.log.Info("sasl: signed in", slog.String("account", a.Account), slog.String("device", a.Device))
	case resultNo:
		h.log.Info("sasl: refused", slog.String("condition", a.Condition), slog.String("code", a.Error), slog.String("text", a.Text))
	default:
		h.log.Error("sasl: nothing decided", slog.Any("error", err))
	}
	return a
}

func (h *Helper) invalid(id string, err error) answer {
	h.log.Warn("sasl: invalid request of the chat server", slog.Any("error", err))
	return answer{Version: Version, ID: id, Result: resultInvalid, Text: err.Error()}
}

// readLines sends each line of r that is not empty, and nil for a line that is too long. It returns nil at the end of r and of ctx.
func readLines(ctx context.Context, r io.Reader, lines chan<- []byte) error {
	in := bufio.NewReaderSize(r, maxLine+1)
	tooLong := false
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			tooLong = true
			continue
		case err != nil && err != io.EOF:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("sasl: read: %w", err)
		}
		if line = bytes.TrimSpace(line); tooLong {
			line = nil
		} else {
			line = bytes.Clone(line)
		}
		if tooLong || len(line) > 0 {
			select {
			case lines <- line:
			case <-ctx.Done():
				return nil
			}
		}
		tooLong = false
		if err == io.EOF {
			return nil
		}
	}
}

// A lineWriter writes one answer at a time.
type lineWriter struct {
	mu     sync.Mutex
	w      io.Writer
	failed context.CancelCauseFunc
}

func (l *lineWriter) write(a answer) {
	text := append([]byte(marshal(a)), '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.w.Write(text); err != nil {
		l.failed(fmt.Errorf("sasl: write: %w", err))
	}
}
