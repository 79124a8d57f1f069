package statuses

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

// Every hour, a random number of decoys between these become invalid, each at a time of its own.
const (
	fewestDecoys = 16
	mostDecoys   = 144
)

// decoys returns the indexes of the decoys of a list that are invalid at now, for as long as the entries of ended sessions are, and when
// that changes next. Which these are follows from the seed of the list.
func decoys(row storage.StatusList, now time.Time) (invalid []int, next time.Time) {
	o := newOrder(row.Seed, row.Size)
	hour := now.Truncate(time.Hour)
	next = hour.Add(time.Hour) // those of the next hour are not looked at yet
	for begin := hour.Add(-2 * time.Hour); !begin.After(hour); begin = begin.Add(time.Hour) {
		text := append(append(make([]byte, 0, 64), row.Seed[:]...), "decoys"...)
		random := rand.New(rand.NewChaCha8(sha256.Sum256(binary.BigEndian.AppendUint64(text, uint64(begin.Unix())))))
		for range fewestDecoys + random.IntN(mostDecoys-fewestDecoys+1) {
			index := o.at(row.Available + random.IntN(row.Size-row.Available))
			from := begin.Add(time.Duration(random.Int64N(int64(time.Hour))))
			to := from.Add(storage.StatusGrace)
			switch {
			case now.Before(from):
				next = earlier(next, from)
			case now.Before(to):
				invalid = append(invalid, index)
				next = earlier(next, to)
			}
		}
	}
	return invalid, next
}

// A decoy is an entry that shows a status without a credential.
type decoy struct {
	index  int
	status statuslist.Status
}

// Every day, a random number of decoys between these end in a list of credentials, each for up to longestDecoy: the entry of a credential
// is shown until that has expired. Of some only the handle ends.
const (
	fewestDailyDecoys = 4
	mostDailyDecoys   = 36
	longestDecoy      = 60 * 24 * time.Hour
)

// credentialDecoys returns the decoys of a list of credentials that have ended at now, and when that changes next. It follows from the
// seed of the list, as if the list had always been there, so it does not tell how old the list is.
func credentialDecoys(row storage.StatusList, now time.Time) (list []decoy, next time.Time) {
	o := newOrder(row.Seed, row.Size)
	day := now.Truncate(24 * time.Hour)
	next = day.Add(24 * time.Hour) // those of the next day are not looked at yet
	for begin := day.Add(-longestDecoy); !begin.After(day); begin = begin.Add(24 * time.Hour) {
		text := append(append(make([]byte, 0, 64), row.Seed[:]...), "endings"...)
		random := rand.New(rand.NewChaCha8(sha256.Sum256(binary.BigEndian.AppendUint64(text, uint64(begin.Unix())))))
		for range fewestDailyDecoys + random.IntN(mostDailyDecoys-fewestDailyDecoys+1) {
			number := row.Available + random.IntN(row.Size-row.Available)
			from := begin.Add(time.Duration(random.Int64N(int64(24 * time.Hour))))
			to := from.Add(time.Duration(random.Int64N(int64(longestDecoy))))
			status := statuslist.Status(statuslist.Invalid)
			if random.IntN(4) == 0 {
				status = statuslist.Application
			}
			switch {
			case now.Before(from):
				next = earlier(next, from)
			case now.Before(to):
				list = append(list, decoy{o.at(number), status})
				next = earlier(next, to)
			}
		}
	}
	return list, next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
