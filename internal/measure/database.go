package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// A database is where one issuer stores its records.
type database interface {
	// settings are the lines that choose the database in the settings of the issuer.
	settings() string
	// forget drops the database from all caches, so that the next reader reads from the disk. No issuer has it open.
	forget(ctx context.Context) error
	// tables returns the rows and the bytes of each table, with its indexes. No issuer has the database open.
	tables(ctx context.Context) (map[string]table, error)
}

// A table is the size of a table of a database.
type table struct{ rows, bytes int64 }

// sqliteFile is the file of an embedded database.
type sqliteFile string

func (f sqliteFile) settings() string { return "" } // the default

func (f sqliteFile) forget(context.Context) error { return forgetFile(string(f)) }

func (f sqliteFile) tables(ctx context.Context) (map[string]table, error) {
	found, err := sqlitetest.Tables(ctx, string(f))
	sizes := make(map[string]table, len(found))
	for name, t := range found {
		sizes[name] = table{t.Rows, t.Bytes}
	}
	return sizes, err
}

// postgresDatabase is a database of a PostgreSQL server of the run.
type postgresDatabase struct {
	server *postgrestest.Server
	name   string
	file   string // holds the URL
	node   string // of the issuer
}

// startPostgres starts a server whose commits are durable, with the memory and the housekeeping of a small one in production. It returns
// nil if no server is wanted. It must be called before this process is bound to one core: the server inherits that.
func startPostgres(wanted bool) (*postgrestest.Server, error) {
	if !wanted {
		return nil, nil
	}
	return postgrestest.New("fsync=on", "full_page_writes=on", "autovacuum=on", "shared_buffers=512MB", "max_wal_size=4GB",
		"checkpoint_timeout=15min")
}

// newPostgresDatabase creates an empty database. Its URL is in a file in the folder dir.
func newPostgresDatabase(server *postgrestest.Server, name, dir string) (*postgresDatabase, error) {
	d := &postgresDatabase{server: server, name: name, file: filepath.Join(dir, "storage-url"), node: strings.ReplaceAll(name, "_", "-")}
	if _, err := server.Query("postgres", `CREATE DATABASE "`+name+`" TEMPLATE template0`); err != nil {
		return nil, err
	}
	return d, os.WriteFile(d.file, []byte(server.URL(name)+"\n"), 0o600)
}

func (d *postgresDatabase) settings() string {
	return fmt.Sprintf("storage: postgres\nstorage_url_file: %q\nreplay: storage\naudit: {node: %s}\n", d.file, d.node)
}

func (d *postgresDatabase) forget(context.Context) error {
	d.server.Signal(os.Interrupt)
	err := filepath.WalkDir(d.server.Folder(), func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			err = forgetFile(path)
		}
		return err
	})
	if err != nil {
		return err
	}
	return d.server.Start()
}

func (d *postgresDatabase) tables(context.Context) (map[string]table, error) {
	if _, err := d.server.Query(d.name, "VACUUM ANALYZE"); err != nil {
		return nil, err
	}
	rows, err := d.server.Query(d.name, "SELECT relname || ' ' || reltuples::bigint || ' ' || pg_total_relation_size(oid) FROM pg_class "+
		"WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]table, len(rows))
	for _, r := range rows {
		var name string
		var t table
		if _, err := fmt.Sscan(r, &name, &t.rows, &t.bytes); err != nil {
			return nil, fmt.Errorf("the size of a table, %q: %w", r, err)
		}
		sizes[name] = t
	}
	return sizes, nil
}
