package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// pageSize is what one write to the disk holds: a page of the database.
const pageSize = 4096

// A disk measures what one durable write costs at least, in the folder of the databases.
type disk struct {
	file *os.File
	at   int64
}

func newDisk(dir string) (*disk, error) {
	f, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		return nil, err
	}
	return &disk{file: f}, nil
}

func (d *disk) close() { _ = d.file.Close() }

// append is a page written behind the end of a file, and fsync, one after the other.
func (d *disk) append() *series { return d.writes(false) }

// overwrite is the same within a file of fixed size.
func (d *disk) overwrite() *series { return d.writes(true) }

func (d *disk) writes(over bool) *series {
	page := make([]byte, pageSize)
	return &series{pid: os.Getpid(), least: 50, prepare: func(_ context.Context, n int) (action, error) {
		d.at = 0
		if err := d.file.Truncate(0); err != nil {
			return nil, err
		}
		if over {
			if err := d.fill(n * pageSize); err != nil {
				return nil, err
			}
		}
		return func(context.Context) ([]float64, error) {
			latencies := make([]float64, n)
			for i := range n {
				begin := time.Now()
				if _, err := d.file.WriteAt(page, d.at); err != nil {
					return nil, err
				}
				if err := d.file.Sync(); err != nil {
					return nil, err
				}
				latencies[i] = float64(time.Since(begin).Nanoseconds()) / 1e3
				d.at += pageSize
			}
			return latencies, nil
		}, nil
	}}
}

// fill writes the file, so that later writes do not make it longer.
func (d *disk) fill(size int) error {
	if _, err := d.file.WriteAt(make([]byte, size), 0); err != nil {
		return err
	}
	return d.file.Sync()
}
