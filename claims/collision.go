package claims

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// CollisionKey returns a key for a unique index: two names of one domain must not have the same. The key is the local part without
// differences in case, dots, hyphens, underscores and invisible characters, and between characters of any script that look alike
// (the skeleton of UTS #39 §4, with additions). Equal identifiers have equal keys. The key is not for display. It changes with
// the version of Unicode, so store [CollisionTables] beside it, and recompute the keys when the tables change.
func CollisionKey(id ID) string { return collisionKey(id.local) }

// CollisionTables returns the versions of the tables behind collision keys: those of Unicode, and of the additions here. Keys of
// different tables cannot be compared.
func CollisionTables() string {
	return unicode.Version + " " + norm.Version + " " + tablesVersion + " 2"
}

// CollisionKeyOf returns the collision key of a stored local part, to recompute stored keys.
func CollisionKeyOf(local string) string { return collisionKey(local) }

func collisionKey(name string) string {
	if key := skeleton(folded(name)); key != "" {
		return key
	}
	return name // nothing but punctuation: then that is the name
}

// resemblance is a coarser key: it also maps digits to the letters that they replace. Too many honest names share such a key to refuse
// a name for that, so it only guards the protected names.
func resemblance(name string) string { return leet.Replace(collisionKey(name)) }

var leet = strings.NewReplacer("l", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "9", "g")
