package faults_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// A plan says which faults happen, and when. A seed determines it.
type plan struct {
	cluster *cluster
	random  *rand.Rand // for the faults in turn
	kills   *rand.Rand // for the kills beside them
	length  time.Duration
	took    time.Duration
}

func newPlan(seed uint64, c *cluster, length time.Duration) *plan {
	return &plan{cluster: c, length: length, random: rand.New(rand.NewPCG(seed, 0)), kills: rand.New(rand.NewPCG(seed, 1<<32))}
}

// A step is a fault that the plan has in turn with others.
type step struct {
	kind string
	do   func(t *testing.T)
}

// steps returns the faults that may happen again and again.
func (p *plan) steps() []step {
	d := p.cluster.database
	list := []step{
		{"PostgreSQL restarted, fast", func(t *testing.T) { d.restart(t, postgrestest.Fast) }},
		{"PostgreSQL restarted, immediate", func(t *testing.T) { d.restart(t, postgrestest.Immediate) }},
		{"PostgreSQL cut off", func(t *testing.T) { d.cut(p.outage()) }},
		{"PostgreSQL silent", func(t *testing.T) { d.silence(p.outage()) }},
	}
	if r := p.cluster.redis; r != nil {
		list = append(list,
			step{"Redis flushed", func(t *testing.T) {
				if answer, err := r.do("FLUSHALL"); err != nil || answer != "+OK" {
					t.Errorf("FLUSHALL = %s %v", answer, err)
				}
			}},
			step{"Redis restarted", func(t *testing.T) { r.stop(); r.start(t) }},
			step{"Redis stopped", func(t *testing.T) { r.stop(); time.Sleep(p.outage() / 2); r.start(t) }})
	}
	return list
}

// outage returns how long an outage takes: 20 s in a long run.
func (p *plan) outage() time.Duration { return min(p.length/10, 20*time.Second) }

// between returns a random time.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

// run lets the faults happen: those of the steps in turn, in a random order, and each again when all have happened; and kills beside them.
func (p *plan) run(t *testing.T) {
	begun := time.Now()
	over := make(chan struct{})
	var killing sync.WaitGroup
	killing.Go(func() { p.kill(over) })
	time.Sleep(p.length / 20)
	for round := 0; round == 0 || time.Since(begun) < p.length; round++ {
		steps := p.steps()
		if round == 0 && p.cluster.database.standby != nil {
			steps = append(steps, step{"standby promoted", p.cluster.database.failOver})
		}
		for _, i := range p.random.Perm(len(steps)) {
			if round > 0 && time.Since(begun) >= p.length {
				break
			}
			began := time.Now()
			steps[i].do(t)
			p.cluster.ledger.happened(steps[i].kind, began)
			// Clients get on meanwhile.
			time.Sleep(max(500*time.Millisecond, between(p.random, p.length/40, p.length/20)))
		}
	}
	close(over)
	killing.Wait()
	p.took = time.Since(begun)
}

// kill kills a random node every few seconds and starts it again. The third node may get a clock that is a minute off.
func (p *plan) kill(over <-chan struct{}) {
	for {
		pause := time.Duration(p.kills.Int64N(int64(500 * time.Millisecond)))
		i := p.kills.IntN(len(p.cluster.nodes))
		offset := time.Duration(p.kills.IntN(3)-1) * time.Minute
		select {
		case <-over:
			return
		case <-time.After(between(p.kills, 1500*time.Millisecond, 3500*time.Millisecond)):
		}
		kind := killed + " (-9)"
		if n := p.cluster.nodes[i]; i < 2 {
			n.kill(pause, 0)
		} else {
			n.kill(pause, offset)
			if offset != 0 {
				kind = killed + " (-9), clock " + offset.String() + " off"
			}
		}
		p.cluster.ledger.happened(kind, time.Now())
	}
}
