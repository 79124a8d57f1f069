package server_test

import (
	"net/http"
	"testing"
)

// Handles that look like somebody's in any script are refused at the first login.
func TestReviewC1LookAlikeHandles(t *testing.T) {
	s := start(t, map[string]string{"choose": "true\n    scripts: unrestricted"})
	s.login(t, newDevice(t), "alice")
	s.namesake(t, "dev-10099", "alice")
	v := s.visit(t, "alice", nil)
	state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "alice")
	for _, name := range []string{"ꓮꓡꓲꓚꓰ", "аӏісе", "alicᴇ", "ꓮꓓꓟꓲꓠ", "ᴀdmin"} {
		if a := s.choose(t, v.browser, state, name); a.status != http.StatusConflict {
			t.Errorf("choice of %q = %v, want 409", name, a)
		}
		s.wantNobody(t, "dev-10099")
	}
	s.wantCode(t, s.choose(t, v.browser, state, "алиса"))
}

// A domain refuses the scripts that its settings say.
func TestReviewC1DomainScripts(t *testing.T) {
	for level, first := range map[string]string{"ascii_only": "josé", "single_script": "日本abc", "moderately_restrictive": "аlex"} {
		t.Run(level, func(t *testing.T) {
			s := start(t, map[string]string{"choose": "true\n    scripts: " + level})
			s.namesake(t, "dev-10099", first)
			v := s.visit(t, "alice", nil)
			state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, first)
			s.wantNobody(t, "dev-10099")
			if level == "single_script" {
				s.wantCode(t, s.choose(t, v.browser, state, "日本"))
			}
		})
	}
}
