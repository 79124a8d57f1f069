package vci

import (
	"fmt"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

// ConfigurationDevice is the credential configuration of a device's SD-JWT VC.
const ConfigurationDevice = "im-device"

// deviceVC is the SD-JWT VC of a device.
var deviceVC = configuration{
	id: ConfigurationDevice, name: "Device", format: credential.SDJWT, vct: credential.VCT, binding: "jwk", listed: true,
	make: makeDeviceVC,
}

func makeDeviceVC(i *issuance, p *dpop.KeyProof, row *storage.Credential) (any, error) {
	status := i.cfg.Statuses.Reference(row.Status)
	vc := sdjwt.VC{
		Issuer: i.cfg.Issuer, ID: row.ID, Device: i.as.id.Device, User: i.as.id.User, Handle: i.as.id.Handle, Key: p.Key,
		IssuedAt: row.IssuedAt, Expires: row.ExpiresAt, Status: &statuslist.Reference{Index: status.Index, URI: status.URI},
	}
	text, err := vc.Sign(i.cfg.Keys, i.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("vci: %w", err)
	}
	return text, nil
}
