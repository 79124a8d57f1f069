package faults_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/cli"
)

var (
	duration = flag.Duration("faults.duration", time.Minute, "how long faults happen, in both tests together")
	seedFlag = flag.Uint64("faults.seed", 0, "repeats the plan of a run, though not its timing; 0 chooses one")
	keep     = flag.Bool("faults.keep", false, "keep the logs of a run that passes, too")
)

// program is the path of the issuer: the program of this test under the name issuer.
var program string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "issuer" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
		stop()
		os.Exit(code)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	folder, err := os.MkdirTemp("", "faults-program")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	program = filepath.Join(folder, "issuer")
	if err := os.Symlink(self, program); err != nil {
		panic(err)
	}
	return m.Run()
}

// TestPostgres lets clients act while nodes are killed and PostgreSQL, which stores everything, restarts, is cut off and fails over.
func TestPostgres(t *testing.T) {
	testFaults(t, false)
}

// TestRedis lets clients act while nodes are killed and Redis, which stores the spent proofs, is flushed, restarts and stops.
func TestRedis(t *testing.T) {
	testFaults(t, true)
}

// testFaults runs one test for half the time that the flag says, and a shorter one with -short.
func testFaults(t *testing.T, redis bool) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat this plan with -faults.seed=%d", seed, seed)
	length := *duration / 2
	if testing.Short() {
		length /= 3
	}
	l := newLedger()
	c := startCluster(t, l, redis)
	defer c.stop(t)
	p := newPlan(seed, c, length)
	users := make([]*user, clients)
	for i := range users {
		users[i] = newUser(c, l, i, rand.New(rand.NewPCG(seed, uint64(i+1))))
	}
	begin(t, c, users, p)
	c.calm(t)
	examine(users)
	l.report(t, c, p)
}
