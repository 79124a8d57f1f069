package account

import (
	"slices"
	"strings"
)

// Platforms are the hints at the kind of a device. The list is closed, so that a hint tells nothing else about the device.
var Platforms = []string{"android", "ios", "windows", "macos", "linux", "web", "tv", "other"}

// ValidPlatform reports whether a device can have a platform hint.
func ValidPlatform(name string) bool { return slices.Contains(Platforms, name) }

// userAgents holds words of the User-Agent header, and the platform of each. The first word that a header has counts: televisions
// run Android and Linux, too, and the header of Android names Linux.
var userAgents = []struct{ word, platform string }{
	{"SmartTV", "tv"}, {"SMART-TV", "tv"}, {"HbbTV", "tv"}, {"AppleTV", "tv"}, {"Android TV", "tv"}, {"Web0S", "tv"}, {"CrKey", "tv"},
	{"iPhone", "ios"}, {"iPad", "ios"}, {"iPod", "ios"},
	{"Android", "android"},
	{"Windows", "windows"},
	{"Macintosh", "macos"},
	{"CrOS", "other"},
	{"Linux", "linux"}, {"X11", "linux"},
}

// PlatformOf returns the platform hint that the User-Agent header of a browser gives, and "" if it gives none.
func PlatformOf(userAgent string) string {
	for _, u := range userAgents {
		if strings.Contains(userAgent, u.word) {
			return u.platform
		}
	}
	return ""
}
