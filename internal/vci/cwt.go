package vci

import (
	"errors"
	"fmt"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

// ConfigurationDeviceCWT is the credential configuration of a device's SD-CWT.
const ConfigurationDeviceCWT = "im-device-cwt"

// deviceCWT is the SD-CWT of a device, in which nothing is hidden. The answer has it in base64url.
var deviceCWT = configuration{
	id: ConfigurationDeviceCWT, name: "Device, as a CWT", format: credential.SDCWT, vct: credential.VCT, binding: "cose_key", listed: true,
	algorithms: []string{jose.ES256, jose.EdDSA}, by: []string{jose.ES256, jose.EdDSA}, make: makeDeviceCWT,
}

func makeDeviceCWT(i *issuance, p *dpop.KeyProof, row *storage.Credential) (any, error) {
	if err := i.cfg.Keys.Fresh(i.cfg.Now()); err != nil { // the key may have been revoked
		return nil, fmt.Errorf("vci: %w", err)
	}
	kid, alg, key := i.cfg.Keys.Signer()
	if key == nil {
		return nil, errors.New("vci: there is no key that signs")
	}
	signer, err := cwt.NewSigner(kid, alg, key)
	if err != nil {
		return nil, fmt.Errorf("vci: %w", err)
	}
	status := i.cfg.Statuses.Reference(row.Status)
	vc := cwt.VC{
		Issuer: i.cfg.Issuer, ID: row.ID, Device: i.as.id.Device, User: i.as.id.User, Handle: i.as.id.Handle, Key: p.Key,
		IssuedAt: row.IssuedAt, Expires: row.ExpiresAt, Status: &statuslist.Reference{Index: status.Index, URI: status.URI},
	}
	data, err := vc.Sign(signer)
	if err != nil {
		return nil, fmt.Errorf("vci: %w", err)
	}
	return cwt.Text(data), nil
}
