package claims

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// CollisionKey returns what two names of one domain may not share, for a unique index: the local part without regard to
// case, to dots, hyphens and underscores, to invisible characters, and to what looks alike in any script (the skeleton of
// UTS #39 §4, with additions). Equal identifiers have equal keys. The key is not for display; it changes with the version of
// Unicode, so store [CollisionTables] beside it and make the keys again when they change.
func CollisionKey(id ID) string { return collisionKey(id.local) }

// CollisionTables names the tables that collision keys are made by: the versions of Unicode, and that of the additions here.
// Keys of different tables cannot be compared.
func CollisionTables() string {
	return unicode.Version + " " + norm.Version + " " + tablesVersion + " 2"
}

// CollisionKeyOf returns the collision key of a stored local part, for making stored keys again.
func CollisionKeyOf(local string) string { return collisionKey(local) }

func collisionKey(name string) string {
	if key := skeleton(folded(name)); key != "" {
		return key
	}
	return name // nothing but punctuation: then that is the name
}

// resemblance is a key that is coarser than a collision key: it also takes digits for the letters that people write them
// for. Too many honest names share one for it to decide between people; it guards the few names that are protected.
func resemblance(name string) string { return leet.Replace(collisionKey(name)) }

var leet = strings.NewReplacer("l", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "9", "g")
