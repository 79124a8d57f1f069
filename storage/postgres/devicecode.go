package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectDeviceCode   = "SELECT " + row.DeviceCodeColumns + " FROM device_codes WHERE hash = $1"
	selectDeviceCodeOf = "SELECT " + row.DeviceCodeColumns + " FROM device_codes WHERE user_code = $1"
	insertDeviceCode   = insertInto("device_codes", row.DeviceCodeColumns)
	bindDeviceCode     = "UPDATE device_codes SET jkt = $2 WHERE hash = $1 AND jkt IN ('', $2)"
	decideDeviceCode   = "UPDATE device_codes SET decided_at = $2, allowed = $3, domain = $4, user_id = $5, device_id = $6, " +
		"issuer = $7, upstream_sid = $8, auth_time = $9, acr = $10, amr = $11, upstream_token = $12 " +
		"WHERE hash = $1 AND decided_at = 0"
	spendDeviceCode = "UPDATE device_codes SET spent_at = $3, grant_id = $4, jkt = $2 " +
		"WHERE hash = $1 AND jkt IN ('', $2) AND allowed AND spent_at = 0"
	dropDeviceCodes     = "DELETE FROM device_codes WHERE domain = $1 AND device_id = $2 AND device_id <> '' AND spent_at = 0"
	dropUserDeviceCodes = "DELETE FROM device_codes WHERE domain = $1 AND user_id = $2 AND user_id <> '' AND spent_at = 0"
	dropSubjectDevices  = "DELETE FROM device_codes WHERE domain = $1 AND user_id = $2 AND user_id <> '' " +
		"AND issuer = $3 AND ($4 = '' OR upstream_sid = '' OR upstream_sid = $4) AND spent_at = 0"
	dropSIDDevices = "DELETE FROM device_codes WHERE domain = $1 AND issuer = $2 AND upstream_sid = $3 " +
		"AND upstream_sid <> '' AND spent_at = 0"
)

func (r *reader) DeviceCode(ctx context.Context, hash [32]byte) (storage.DeviceCode, error) {
	return one(ctx, r, selectDeviceCode, row.DeviceCodeDest, hash[:])
}

func (r *reader) DeviceCodeOf(ctx context.Context, userCode [32]byte) (storage.DeviceCode, error) {
	return one(ctx, r, selectDeviceCodeOf, row.DeviceCodeDest, userCode[:])
}

func (t *tx) InsertDeviceCode(ctx context.Context, c storage.DeviceCode) error {
	return t.insert(ctx, insertDeviceCode, row.DeviceCodeArgs(c))
}

func (t *tx) BindDeviceCode(ctx context.Context, hash [32]byte, jkt string) error {
	return t.changeDeviceCode(ctx, hash, bindDeviceCode, hash[:], jkt)
}

func (t *tx) DecideDeviceCode(ctx context.Context, c storage.DeviceCode) error {
	return t.changeDeviceCode(ctx, c.Hash, decideDeviceCode, c.Hash[:], row.Millis(c.DecidedAt), c.Allowed, c.Domain, c.User, c.Device,
		c.Issuer, c.UpstreamSID, row.Millis(c.AuthTime), c.ACR, row.Text(c.AMR), c.UpstreamToken)
}

func (t *tx) SpendDeviceCode(ctx context.Context, hash [32]byte, jkt string, at time.Time, grant string) error {
	return t.changeDeviceCode(ctx, hash, spendDeviceCode, hash[:], jkt, row.Millis(at), grant)
}

// changeDeviceCode runs a statement that changes one device code if the row is as it demands.
func (t *tx) changeDeviceCode(ctx context.Context, hash [32]byte, sql string, args ...any) error {
	return t.change(ctx, func() error { _, err := t.DeviceCode(ctx, hash); return err }, sql, args...)
}
