package simulation

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A table holds rows by their keys. A committed table never changes: a transaction works on a fork, which copies the rows with the first
// write.
type table[K comparable, V any] struct {
	rows map[K]V
	own  bool          // rows is a copy that may be changed
	uses *access[K, V] // what the transaction did; nil in a committed table
}

// An access is what a transaction read from a table and wrote to it.
type access[K comparable, V any] struct {
	keys    map[K]struct{}
	matches []func(V) bool
	writes  map[K]struct{}
}

// A change is a committed change of one row. Old and fresh are the row before and after it; nil if there was none.
type change struct {
	table      int
	key        any
	old, fresh any
}

// A tabler is a table of any type.
type tabler interface {
	// fork makes the table one of a transaction.
	fork()
	// overlaps reports whether the transaction read something that a change concerns.
	overlaps(c change) bool
	// publish writes the changes of the transaction to the committed table of the same type, and returns them.
	publish(number int, into tabler) []change
}

func (t *table[K, V]) fork() { t.own, t.uses = false, &access[K, V]{} }

func (t *table[K, V]) overlaps(c change) bool {
	if _, read := t.uses.keys[c.key.(K)]; read {
		return true
	}
	for _, row := range []any{c.old, c.fresh} {
		if row != nil && slices.ContainsFunc(t.uses.matches, func(match func(V) bool) bool { return match(row.(V)) }) {
			return true
		}
	}
	return false
}

func (t *table[K, V]) publish(number int, into tabler) (list []change) {
	if len(t.uses.writes) == 0 {
		return nil
	}
	to := into.(*table[K, V])
	to.rows = maps.Clone(to.rows)
	if to.rows == nil {
		to.rows = make(map[K]V)
	}
	for k := range t.uses.writes {
		c := change{table: number, key: k}
		if old, ok := to.rows[k]; ok {
			c.old = old
		}
		if fresh, ok := t.rows[k]; ok {
			c.fresh, to.rows[k] = fresh, fresh
		} else {
			delete(to.rows, k)
		}
		list = append(list, c)
	}
	return list
}

// find returns the row of a key, and false if there is none.
func (t *table[K, V]) find(k K) (V, bool) {
	if t.uses != nil {
		if t.uses.keys == nil {
			t.uses.keys = make(map[K]struct{})
		}
		t.uses.keys[k] = struct{}{}
	}
	v, ok := t.rows[k]
	return v, ok
}

// get returns the row of a key, and [storage.ErrNotFound] if there is none.
func (t *table[K, V]) get(k K) (V, error) {
	v, ok := t.find(k)
	if !ok {
		return v, storage.ErrNotFound
	}
	return v, nil
}

func (t *table[K, V]) has(k K) bool {
	_, ok := t.find(k)
	return ok
}

// where returns the rows that match, in the order of less. Match depends on nothing but the row and what does not change.
func (t *table[K, V]) where(match func(V) bool, order func(a, b V) int) []V {
	if t.uses != nil {
		t.uses.matches = append(t.uses.matches, match)
	}
	var list []V
	for _, v := range t.rows {
		if match(v) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, order)
	return list
}

// any reports whether a row matches.
func (t *table[K, V]) any(match func(V) bool) bool {
	if t.uses != nil {
		t.uses.matches = append(t.uses.matches, match)
	}
	for _, v := range t.rows {
		if match(v) {
			return true
		}
	}
	return false
}

// count returns how many rows match, at most limit.
func (t *table[K, V]) count(match func(V) bool, limit int) int {
	return min(len(t.where(match, func(V, V) int { return 0 })), max(limit, 0))
}

// put writes a row.
func (t *table[K, V]) put(k K, v V) {
	t.write(k)
	t.rows[k] = stored(v)
}

// insert adds a row; [storage.ErrConflict] if its key exists.
func (t *table[K, V]) insert(k K, v V) error {
	if t.has(k) {
		return storage.ErrConflict
	}
	t.put(k, v)
	return nil
}

// replace writes a row that must exist.
func (t *table[K, V]) replace(k K, v V) error {
	if !t.has(k) {
		return storage.ErrNotFound
	}
	t.put(k, v)
	return nil
}

// remove deletes a row; [storage.ErrNotFound] if there is none.
func (t *table[K, V]) remove(k K) error {
	if !t.has(k) {
		return storage.ErrNotFound
	}
	t.write(k)
	delete(t.rows, k)
	return nil
}

func (t *table[K, V]) write(k K) {
	if !t.own {
		t.rows, t.own = maps.Clone(t.rows), true
		if t.rows == nil {
			t.rows = make(map[K]V)
		}
	}
	if t.uses.writes == nil {
		t.uses.writes = make(map[K]struct{})
	}
	t.uses.writes[k] = struct{}{}
}

// stored returns a row as a database keeps it: times in whole milliseconds, empty lists as nil, and nothing shared with the caller.
func stored[V any](v V) V {
	store(reflect.ValueOf(&v).Elem())
	return v
}

var timeType = reflect.TypeFor[time.Time]()

func store(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(whole(v.Interface().(time.Time))))
			return
		}
		for i := range v.NumField() {
			store(v.Field(i))
		}
	case reflect.Slice:
		switch list := v.Interface().(type) {
		case []byte:
			v.SetBytes(slices.Clone(list))
		case []string:
			if len(list) == 0 {
				list = nil
			}
			v.Set(reflect.ValueOf(slices.Clone(list)))
		}
	case reflect.Map:
		if form, ok := v.Interface().(url.Values); ok {
			form, _ = url.ParseQuery(form.Encode()) // as it is encoded, it parses
			v.Set(reflect.ValueOf(form))
		}
	}
}

// whole returns a time in whole milliseconds and in UTC.
func whole(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

// page returns at most limit rows.
func page[V any](list []V, limit int) []V { return list[:min(len(list), max(limit, 0))] }
