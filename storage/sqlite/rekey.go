package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	// A key that a device had before is found by the record of its replacement.
	selectDeviceByKey = statement("SELECT " + row.DeviceColumns + " FROM devices WHERE domain = ?1 AND jkt = ?2 " +
		"UNION ALL SELECT " + row.Of("d", row.DeviceColumns) + " FROM rekeys k JOIN devices d " +
		"ON d.domain = k.domain AND d.id = k.device_id WHERE k.domain = ?1 AND k.old_jkt = ?2 " +
		fmt.Sprintf("UNION ALL SELECT domain, device_id, user_id, jkt, '', '', 0, %d, '', '', 0, '', '' FROM removed_keys ",
			row.Millis(storage.Forgotten)) +
		"WHERE domain = ?1 AND jkt = ?2 LIMIT 1")
	selectRekeys = statement("SELECT " + row.RekeyColumns + " FROM rekeys INDEXED BY rekeys_device WHERE domain = ? AND device_id = ? " +
		"ORDER BY number")
	// It adds no row if the key, the fourth column of a device, was replaced before, or if the key, the id or the number under the
	// delegation was that of a device that was forgotten.
	insertDevice = statement("INSERT INTO devices (" + row.DeviceColumns + ") SELECT ?" +
		strings.Repeat(", ?", strings.Count(row.DeviceColumns, ",")) +
		" WHERE NOT EXISTS (SELECT 1 FROM rekeys WHERE domain = ?1 AND old_jkt = ?4) " +
		"AND NOT EXISTS (SELECT 1 FROM removed_keys WHERE domain = ?1 AND jkt = ?4) " +
		"AND NOT EXISTS (SELECT 1 FROM removed_keys INDEXED BY removed_keys_device WHERE domain = ?1 AND device_id = ?2) " +
		"AND (?10 = '' OR NOT EXISTS (SELECT 1 FROM removed_keys INDEXED BY removed_keys_number " +
		"WHERE domain = ?1 AND delegation = ?10 AND delegation <> '' AND number = ?11))")
	rekeyDevice = statement("UPDATE devices SET jkt = ?4, alg = ?5 WHERE domain = ?1 AND id = ?2 AND jkt = ?3 AND removed_at = 0 " +
		"AND NOT EXISTS (SELECT 1 FROM rekeys WHERE domain = ?1 AND old_jkt = ?4) " +
		"AND NOT EXISTS (SELECT 1 FROM removed_keys WHERE domain = ?1 AND jkt = ?4)")
	rekeyGrants = statement("UPDATE grants SET jkt = ?3 WHERE domain = ?1 AND device_id = ?2 AND ended_at = 0")
	insertRekey = statement("INSERT INTO rekeys (" + row.RekeyColumns + ", number) SELECT ?1, ?2, ?3, ?4, ?5, ?6, " +
		"1 + count(*) FROM rekeys WHERE domain = ?1 AND device_id = ?2")
)

func (r *reader) DeviceByKey(ctx context.Context, domain, jkt string) (d storage.Device, err error) {
	err = r.row(ctx, selectDeviceByKey, row.DeviceDest(&d), domain, jkt)
	return d, err
}

func (r *reader) Rekeys(ctx context.Context, domain, device string) (list []storage.Rekey, err error) {
	err = r.rows(ctx, selectRekeys, func() []any {
		list = append(list, storage.Rekey{})
		return row.RekeyDest(&list[len(list)-1])
	}, domain, device)
	return list, err
}

func (t *tx) InsertDevice(ctx context.Context, d storage.Device) error {
	n, err := t.exec(ctx, insertDevice, row.DeviceArgs(d)...)
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

func (t *tx) RekeyDevice(ctx context.Context, k storage.Rekey) error {
	n, err := t.exec(ctx, rekeyDevice, k.Domain, k.Device, k.OldJKT, k.NewJKT, k.Alg)
	if err != nil {
		return err
	}
	if n == 0 {
		if _, err := t.Device(ctx, k.Domain, k.Device); err != nil {
			return err
		}
		return storage.ErrConflict
	}
	// The key was that of the device, so no record has it as the old one, and the number is free.
	if _, err := t.exec(ctx, insertRekey, k.Domain, k.Device, k.OldJKT, k.NewJKT, row.Millis(k.At), k.Alg); err != nil {
		return err
	}
	_, err = t.exec(ctx, rekeyGrants, k.Domain, k.Device, k.NewJKT)
	return err
}
