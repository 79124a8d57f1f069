// Command measure measures what requests cost a running issuer, beside the cryptography and the HTTP exchange that they
// cannot do without. docs/performance.md lists the goals and explains the figures.
//
// It builds the issuer, starts it on loopback with a database of its own, and sends prepared requests. The issuer runs on
// one core and the load on another, so that the CPU time of the issuer's threads is the cost of the requests alone. The
// works take turns in short windows, and each figure is a median over several rounds, so that a slow spell of the machine
// touches all of them alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// errUsage stands for a wrong command line, which the flag package has described already.
var errUsage = errors.New("wrong usage")

// options are the flags of the command.
type options struct {
	binary  string
	against string
	dir     string
	rounds  int
	window  time.Duration
	starts  int
	only    *regexp.Regexp
	quick   bool
	json    bool
	scale   int
	gateway bool
	stores  bool
	on      bool // PostgreSQL
}

const usualWindow = 300 * time.Millisecond

const usage = `Usage: measure [flags]

Measures the CPU time of requests to "issuer serve", in the module's folder. See docs/performance.md.

  measure -quick               some minutes, for a first look
  measure -json > run.json     the same table for programs
  measure -only refresh        some of the works
  measure -against OLD         two builds in the same run, with the ratio of their costs
  measure -scale 1000000       a database of a million users instead: start, housekeeping, memory, lists
  measure -scale 1000000 -postgres   the same on a PostgreSQL server, which is started for the run
  measure -stores              refreshes per second on SQLite and on PostgreSQL
  measure -gateway             "issuer gateway" instead: questions of a proxy, and its memory under load

Variables such as ISSUER_LOG__LEVEL=warn override the settings of the issuer.

`

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("measure", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.binary, "binary", "", "measure this `file` instead of building the issuer")
	flags.StringVar(&o.against, "against", "", "compare with this other build of the issuer, a `file`, in the same run")
	flags.StringVar(&o.dir, "dir", "", "keep the databases in this `folder`, on a real disk (default: the system's temporary folder)")
	flags.IntVar(&o.rounds, "rounds", 25, "how often each work is measured")
	flags.DurationVar(&o.window, "window", usualWindow, "how long one measurement of a work takes")
	flags.IntVar(&o.starts, "starts", 11, "how often the issuer is started for the time until it is ready")
	only := flags.String("only", "", "measure only the works whose names match this regular `expression`")
	flags.BoolVar(&o.quick, "quick", false, "measure 7 rounds and 5 starts")
	flags.BoolVar(&o.json, "json", false, "write JSON")
	flags.BoolVar(&o.gateway, "gateway", false, "measure a gateway instead of an issuer")
	flags.BoolVar(&o.stores, "stores", false, "compare the databases instead of measuring requests")
	flags.BoolVar(&o.on, "postgres", false, "with -scale: store the records in PostgreSQL")
	flags.IntVar(&o.scale, "scale", 0, "measure a database of `N` users instead of requests")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	if o.quick {
		o.rounds, o.starts = 7, 5
	}
	var wrong string
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		wrong = fmt.Sprintf("-only: %v", err)
	}
	switch {
	case wrong != "":
	case flags.NArg() > 0:
		wrong = fmt.Sprintf("unexpected argument %q", flags.Arg(0))
	case o.rounds < 1:
		wrong = "-rounds must be at least 1"
	case o.window <= 0:
		wrong = "-window must be longer than 0"
	case o.starts < 0:
		wrong = "-starts must not be negative"
	case o.scale < 0:
		wrong = "-scale must not be negative"
	case o.gateway && (o.scale > 0 || o.against != ""):
		wrong = "-gateway goes neither with -scale nor with -against"
	case o.stores && (o.scale > 0 || o.against != "" || o.gateway):
		wrong = "-stores goes with none of -scale, -against and -gateway"
	case o.on && o.scale == 0:
		wrong = "-postgres goes with -scale only"
	case o.scale > 0 && o.against != "":
		wrong = "-scale measures one build: leave out -against"
	default:
		return o, nil
	}
	fmt.Fprintf(stderr, "measure: %s (-h lists the flags)\n", wrong)
	return o, errUsage
}

// run is the command. It also is the processes that the command starts: the floor, an issuer that sweeps all the time, and a
// gateway that tells its heap.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == floorArgument {
		return serveFloor(stdin, stdout)
	}
	if len(args) == 2 && args[0] == sweepingArgument {
		return serveSweeping(ctx, args[1])
	}
	if len(args) == 2 && args[0] == heapArgument {
		return serveHeap(ctx, args[1])
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	server, err := startPostgres(o.on || o.stores)
	if err != nil {
		return err
	}
	if server != nil {
		defer server.Stop()
	}
	place := separate()
	fmt.Fprintln(stderr, place.note())
	dir, err := os.MkdirTemp(o.dir, "measure-")
	if err != nil {
		return fmt.Errorf("make a folder for the databases: %w", err)
	}
	defer os.RemoveAll(dir)
	if inMemory(dir) {
		fmt.Fprintln(stderr, "The databases would be in memory, where durable writes are too cheap: choose a folder on a disk with -dir.")
	}
	if o.binary == "" {
		fmt.Fprintln(stderr, "Building the issuer.")
		if o.binary, err = build(ctx, dir); err != nil {
			return err
		}
	}
	c := conditions{
		Date: time.Now().UTC().Format(time.DateOnly), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Placement: place.note(), CPUTime: hasCPUTime,
	}
	if o.scale > 0 {
		return measureScale(ctx, o, c, place, server, dir, stdout, stderr)
	}
	if o.stores {
		return measureStores(ctx, o, c, place, server, dir, stdout, stderr)
	}
	if o.gateway {
		return measureGateway(ctx, o, c, place, dir, stdout, stderr)
	}
	return measureRequests(ctx, o, c, place, dir, stdout, stderr)
}
