package issuer

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/follow"
)

// certificateEvery is how often the files of the certificate are checked.
const certificateEvery = time.Second

// A certificate is the server's TLS certificate. It is read again when its files change. If the new content is not valid,
// the previous certificate stays in use.
type certificate struct {
	*watched
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]
}

// openCertificate reads a certificate, which must be valid. Without a file name it returns nil.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{log: log}
	c.watched = &watched{certFile: certFile, keyFile: keyFile, use: c.use}
	if err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// config returns the server's TLS settings. Beyond the oldest version they are Go's defaults.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// use makes the content of the files the certificate in use.
func (c *certificate) use(cert, key []byte, err error) error {
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair(cert, key)
	}
	before := c.current.Load()
	if err != nil {
		err = fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
		if before != nil {
			c.log.Error("the new certificate is no good: the one before is shown", slog.Any("error", err),
				slog.Time("not_after", before.Leaf.NotAfter))
		}
		return err
	}
	c.current.Store(&pair)
	if before == nil || !before.Leaf.Equal(pair.Leaf) {
		c.log.Info("certificate", slog.String("file", c.certFile), slog.String("serial", pair.Leaf.SerialNumber.Text(16)),
			slog.Time("not_after", pair.Leaf.NotAfter))
	}
	if now := time.Now(); now.Before(pair.Leaf.NotBefore) || now.After(pair.Leaf.NotAfter) {
		c.log.Warn("the certificate is not valid now: no client will take it", slog.Time("not_before", pair.Leaf.NotBefore),
			slog.Time("not_after", pair.Leaf.NotAfter))
	}
	return nil
}

// A Certificate is the TLS certificate of a server that is not an issuer's. It is read again when its files change.
type Certificate struct{ *certificate }

// OpenCertificate reads a certificate, which must be valid. Without a file name it returns nil.
func OpenCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c, err := openCertificate(certFile, keyFile, log)
	if c == nil || err != nil {
		return nil, err
	}
	return &Certificate{c}, nil
}

// TLS returns the server's TLS settings.
func (c *Certificate) TLS() *tls.Config { return c.config() }

// Follow reads the files again when they change, until ctx ends.
func (c *Certificate) Follow(ctx context.Context) {
	follow.New(follow.Config{Name: "following the certificate", Do: c.look, Interval: certificateEvery, Later: true}).Run(ctx)
}
