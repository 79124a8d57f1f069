package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/qr"
)

type credentialOfferCmd struct {
	Issuer        string `placeholder:"URL" help:"The issuer of the credential ($$ISSUER)."`
	Configuration string `default:"im-device" placeholder:"ID" help:"The kind of credential (im-device)."`
	QR            bool   `name:"qr" help:"Print it as a QR code, too."`
}

func (*credentialOfferCmd) Help() string {
	return `An offer is a URL that starts a wallet for OpenID4VCI, as a link or as a QR code that the wallet scans. It holds no secret, and may
be used many times: the user signs in at the issuer.

    issuer credential offer --issuer https://im-id.example.com
    issuer credential offer --issuer https://im-id.example.com --qr

The exit code is 1 if the issuer gives no such credential, and 3 if it cannot be reached.`
}

func (c *credentialOfferCmd) Run(ctx context.Context, s *streams) error {
	issuer := strings.TrimSuffix(cmp.Or(c.Issuer, s.getenv("ISSUER")), "/")
	switch {
	case issuer == "":
		return usage("offer needs the issuer: --issuer URL, or ISSUER in the environment")
	case !client.Safe(issuer):
		return usage("%s is neither an https URL nor on this machine", issuer)
	}
	if _, _, err := credentialsOf(ctx, issuer, c.Configuration); err != nil {
		return err
	}
	// OpenID4VCI 1.0 §4.1.
	offer, err := json.Marshal(struct {
		Issuer         string              `json:"credential_issuer"`
		Configurations []string            `json:"credential_configuration_ids"`
		Grants         map[string]struct{} `json:"grants"`
	}{issuer, []string{c.Configuration}, map[string]struct{}{"authorization_code": {}}})
	if err != nil {
		return err
	}
	link := "openid-credential-offer://?credential_offer=" + url.QueryEscape(string(offer))
	fmt.Fprintln(s.out, link)
	if !c.QR {
		return nil
	}
	picture, err := qr.Text(link)
	if err != nil {
		return usage("the offer is too long for a QR code: %w", err)
	}
	fmt.Fprintf(s.out, "\n%s", picture)
	return nil
}

// credentialsOf returns the metadata of an issuer of credentials, and one of the kinds of credential that it gives.
func credentialsOf(ctx context.Context, issuer, configuration string) (client.CredentialMetadata, client.CredentialConfiguration, error) {
	meta, err := client.DiscoverCredentials(ctx, bare(), issuer)
	if err != nil {
		return meta, client.CredentialConfiguration{}, noCredentials(issuer, err)
	}
	for _, endpoint := range []string{meta.CredentialEndpoint, meta.NonceEndpoint} {
		if !client.Safe(endpoint) {
			return meta, client.CredentialConfiguration{}, refused(
				"the issuer names the endpoint %q, which is neither https nor on this machine", endpoint)
		}
	}
	kind, ok := meta.Configurations[configuration]
	if !ok {
		return meta, kind, refused("%s gives no credential %s. It gives: %s", issuer, printable(configuration),
			printable(strings.Join(slices.Sorted(maps.Keys(meta.Configurations)), ", ")))
	}
	return meta, kind, nil
}

// noCredentials explains why the metadata of an issuer of credentials could not be read.
func noCredentials(issuer string, err error) error {
	if e := (*client.Error)(nil); errors.As(err, &e) && !e.Temporary() {
		return refused("%s gives no credentials", issuer)
	}
	return unknown("no issuer answers at %s: %w", issuer, root(err))
}
