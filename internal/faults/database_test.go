package faults_test

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// A database is PostgreSQL behind links, through which the nodes reach it.
type database struct {
	primary *postgrestest.Server
	standby *postgrestest.Server // nil if there is none, or it was promoted
	links   []*postgrestest.Link
}

// startDatabase starts a server, with a standby that confirms each commit if there shall be a failover.
func startDatabase(t *testing.T, failover bool) *database {
	t.Helper()
	settings := []string{"max_connections=60", "wal_retrieve_retry_interval=200ms"}
	if failover {
		settings = append(settings, "synchronous_standby_names=*")
	}
	d := new(database)
	var err error
	if d.primary, err = postgrestest.New(settings...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.primary.Stop)
	servers := []*postgrestest.Server{d.primary}
	if failover {
		if d.standby, err = d.primary.Standby("synchronous_standby_names="); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.standby.Stop)
		servers = append(servers, d.standby)
	}
	for _, s := range servers {
		k, err := postgrestest.NewLink(s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		d.links = append(d.links, k)
	}
	return d
}

// url returns the URL by which nodes reach the server that takes updates.
func (d *database) url() string {
	var folders []string
	for _, k := range d.links {
		u, err := url.Parse(k.URL("postgres"))
		if err != nil {
			panic(err)
		}
		folders = append(folders, u.Query().Get("host"))
	}
	return "postgres://issuer@/postgres?target_session_attrs=read-write&host=" + strings.Join(folders, ",")
}

// restart ends the server by a signal and starts it again.
func (d *database) restart(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := d.primary.Restart(signal); err != nil {
		t.Error(err)
	}
}

// failOver crashes the primary, for good, and promotes the standby. That had confirmed all that was committed.
func (d *database) failOver(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		states, err := d.primary.Query("postgres", "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
		if err == nil && slices.Equal(states, []string{"sync"}) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the standby does not confirm commits: %v, %v", states, err)
		}
	}
	d.primary.Signal(postgrestest.Immediate)
	if err := d.standby.Promote(); err != nil {
		t.Fatal(err)
	}
	d.primary, d.standby = d.standby, nil
}

// cut ends the connections to the database, and refuses new ones for a time.
func (d *database) cut(length time.Duration) {
	for _, k := range d.links {
		k.Cut()
	}
	d.mend(length)
}

// silence delivers nothing to and from the database for a time, and then all that was sent meanwhile.
func (d *database) silence(length time.Duration) {
	for _, k := range d.links {
		k.Silence()
	}
	d.mend(length)
}

func (d *database) mend(after time.Duration) {
	time.Sleep(after)
	for _, k := range d.links {
		k.Mend()
	}
}
