package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectDevice      = "SELECT " + row.DeviceColumns + " FROM devices WHERE domain = $1 AND id = $2"
	selectDevices     = "SELECT " + row.DeviceColumns + " FROM devices WHERE domain = $1 ORDER BY created_at, id"
	selectUserDevices = "SELECT " + row.DeviceColumns + " FROM devices WHERE domain = $1 AND user_id = $2 ORDER BY created_at, id"

	selectDevicesAfter     = "SELECT " + row.DeviceColumns + " FROM devices WHERE domain = $1 AND id > $2 ORDER BY id LIMIT $3"
	selectUserDevicesAfter = "SELECT " + row.DeviceColumns + " FROM devices WHERE domain = $1 AND user_id = $2 AND id > $3 " +
		"ORDER BY id LIMIT $4"
	selectDevicesUnder = "SELECT " + row.DeviceColumns + " FROM devices WHERE domain = $1 AND delegation = $2 AND delegation <> '' " +
		"AND removed_at = 0 ORDER BY number LIMIT $3"
	// A key that a device had before is found by the record of its replacement.
	selectDeviceByKey = "SELECT " + row.DeviceColumns + " FROM devices WHERE domain = $1 AND jkt = $2 " +
		"UNION ALL SELECT " + row.Of("d", row.DeviceColumns) + " FROM rekeys k JOIN devices d ON d.domain = k.domain " +
		"AND d.id = k.device_id WHERE k.domain = $1 AND k.old_jkt = $2 " +
		fmt.Sprintf("UNION ALL SELECT domain, device_id, user_id, jkt, '', '', 0, %d, '', '', 0, '', '' FROM removed_keys ",
			row.Millis(storage.Forgotten)) +
		"WHERE domain = $1 AND jkt = $2 LIMIT 1"
	// It adds no row if the key, the fourth column of a device, was replaced before, or if the key, the id or the number under the
	// delegation was that of a device that was forgotten.
	insertDevice = "INSERT INTO devices (" + row.DeviceColumns + ") SELECT " + parameters(strings.Count(row.DeviceColumns, ",")+1) +
		" WHERE NOT EXISTS (SELECT 1 FROM rekeys WHERE domain = $1 AND old_jkt = $4) " +
		"AND NOT EXISTS (SELECT 1 FROM removed_keys WHERE domain = $1 AND jkt = $4) " +
		"AND NOT EXISTS (SELECT 1 FROM removed_keys WHERE domain = $1 AND device_id = $2) " +
		"AND ($10 = '' OR NOT EXISTS (SELECT 1 FROM removed_keys WHERE domain = $1 AND delegation = $10 AND delegation <> '' " +
		"AND number = $11)) ON CONFLICT DO NOTHING"
	updateDevice = updateOf("devices", row.DeviceColumns, 2, " AND NOT EXISTS (SELECT 1 FROM devices o WHERE o.domain = $1 "+
		"AND o.id <> $2 AND (o.jkt = $4 OR o.delegation = $10 AND o.delegation <> '' AND o.number = $11))")

	selectRekeys = "SELECT " + row.RekeyColumns + " FROM rekeys WHERE domain = $1 AND device_id = $2 ORDER BY number"
	rekeyDevice  = "UPDATE devices SET jkt = $4, alg = $5 WHERE domain = $1 AND id = $2 AND jkt = $3 AND removed_at = 0 " +
		"AND NOT EXISTS (SELECT 1 FROM rekeys WHERE domain = $1 AND old_jkt = $4) " +
		"AND NOT EXISTS (SELECT 1 FROM removed_keys WHERE domain = $1 AND jkt = $4) " +
		"AND NOT EXISTS (SELECT 1 FROM devices o WHERE o.domain = $1 AND o.jkt = $4)"
	rekeyGrants = "UPDATE grants SET jkt = $3 WHERE domain = $1 AND device_id = $2 AND ended_at = 0"
	insertRekey = "INSERT INTO rekeys (" + row.RekeyColumns + ", number) SELECT $1, $2, $3, $4, $5, $6, " +
		"1 + count(*) FROM rekeys WHERE domain = $1 AND device_id = $2"
)

func (r *reader) Device(ctx context.Context, domain, id string) (storage.Device, error) {
	return one(ctx, r, selectDevice, row.DeviceDest, domain, id)
}

func (r *reader) DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error) {
	return one(ctx, r, selectDeviceByKey, row.DeviceDest, domain, jkt)
}

func (r *reader) Devices(ctx context.Context, domain, user string) ([]storage.Device, error) {
	if user == "" {
		return all(ctx, r, selectDevices, row.DeviceDest, domain)
	}
	return all(ctx, r, selectUserDevices, row.DeviceDest, domain, user)
}

func (r *reader) DevicesAfter(ctx context.Context, domain, user, after string, limit int) ([]storage.Device, error) {
	if user == "" {
		return all(ctx, r, selectDevicesAfter, row.DeviceDest, domain, after, max(limit, 0))
	}
	return all(ctx, r, selectUserDevicesAfter, row.DeviceDest, domain, user, after, max(limit, 0))
}

func (r *reader) DevicesUnder(ctx context.Context, domain, delegation string, limit int) ([]storage.Device, error) {
	return all(ctx, r, selectDevicesUnder, row.DeviceDest, domain, delegation, max(limit, 0))
}

func (t *tx) InsertDevice(ctx context.Context, d storage.Device) error {
	return t.insert(ctx, insertDevice, row.DeviceArgs(d))
}

func (t *tx) UpdateDevice(ctx context.Context, d storage.Device) error {
	return t.change(ctx, func() error { return t.hasDevice(ctx, d.Domain, d.ID) }, updateDevice, row.DeviceArgs(d)...)
}

func (t *tx) hasDevice(ctx context.Context, domain, id string) error {
	_, err := t.Device(ctx, domain, id)
	return err
}

func (r *reader) Rekeys(ctx context.Context, domain, device string) ([]storage.Rekey, error) {
	return all(ctx, r, selectRekeys, row.RekeyDest, domain, device)
}

func (t *tx) RekeyDevice(ctx context.Context, k storage.Rekey) error {
	err := t.change(ctx, func() error { return t.hasDevice(ctx, k.Domain, k.Device) }, rekeyDevice,
		k.Domain, k.Device, k.OldJKT, k.NewJKT, k.Alg)
	if err != nil {
		return err
	}
	// The key was that of the device, so no record has it as the old one, and the number is free.
	if _, err := t.exec(ctx, insertRekey, k.Domain, k.Device, k.OldJKT, k.NewJKT, row.Millis(k.At), k.Alg); err != nil {
		return err
	}
	_, err = t.exec(ctx, rekeyGrants, k.Domain, k.Device, k.NewJKT)
	return err
}
