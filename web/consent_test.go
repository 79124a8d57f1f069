package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/web"
)

// TestAbilities holds that people are told in words what every scope allows.
func TestAbilities(t *testing.T) {
	for _, scope := range oauth.Scopes {
		c := web.Consent{Consent: oauth.Consent{Scopes: []string{scope}}, Person: "@alice@example.com"}
		list := c.Abilities()
		if len(list) != 2 || strings.HasPrefix(string(list[1]), "Use the permission") || strings.Contains(string(list[1]), "NAME") {
			t.Errorf("Abilities for %s = %q, want one in words", scope, list)
		}
	}
	c := web.Consent{Consent: oauth.Consent{Scopes: []string{"unheard-of"}}}
	if list := c.Abilities(); !strings.Contains(string(list[1]), "unheard-of") {
		t.Errorf("Abilities = %q, want the scope that there are no words for", list)
	}
}

func TestHowLong(t *testing.T) {
	for life, want := range map[time.Duration]string{
		time.Second: "one minute", time.Minute: "one minute", 90 * time.Minute: "one hour", 5 * time.Hour: "5 hours",
		24 * time.Hour: "one day", 180 * 24 * time.Hour: "180 days",
	} {
		c := web.Consent{Consent: oauth.Consent{Life: life}}
		list := c.Abilities()
		if last := list[len(list)-1]; !strings.Contains(string(last), "up to "+want+",") {
			t.Errorf("for %v the page says %q, want %q in it", life, last, want)
		}
	}
}
