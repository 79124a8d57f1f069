package web_test

import (
	"html/template"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/web"
)

func accept(values ...string) http.Header { return http.Header{"Accept-Language": values} }

// TestChoose: ui_locales decides before Accept-Language, and weights before the order.
func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name, uiLocales string
		header          http.Header
		want            string
	}{
		{"nothing", "", nil, "en"},
		{"the browser's language", "", accept("de"), "de"},
		{"a region of it", "", accept("de-AT"), "de"},
		{"another region", "", accept("ar-EG,en;q=0.5"), "ar"},
		{"a language without texts", "", accept("fi"), "en"},
		{"the second, if there are no texts for the first", "", accept("fi, ar;q=0.3"), "ar"},
		{"weights", "", accept("en;q=0.2, de;q=0.8, ar;q=0.5"), "de"},
		{"equal weights: the order", "", accept("ar;q=0.5,de;q=0.5"), "ar"},
		{"weight 0 refuses a language", "", accept("de;q=0, ar;q=0.1"), "ar"},
		{"only weight 0", "", accept("de;q=0"), "en"},
		{"two headers", "", accept("fi", "de"), "de"},
		{"upper case", "", accept("DE"), "de"},
		{"spaces", "", accept("  de-CH ; q=0.9 ,en ; q=0.1"), "de"},
		{"any", "", accept("*"), "en"},
		{"a tag that cannot be read", "", accept("x_/, de;q=0.1"), "de"},
		{"a weight that cannot be read", "", accept("ar;q=much, de;q=0.1"), "de"},
		{"a weight above 1", "", accept("ar;q=7, de;q=0.1"), "de"},
		{"an endless header", "", accept(strings.Repeat("de,", 1000)), "en"},
		{"the app's wish", "ar", accept("de"), "ar"},
		{"the app's second wish", "fi ar de", accept("de"), "ar"},
		{"a wish that cannot be met", "fi sv", accept("de"), "de"},
		{"a wish that cannot be read", "%%% de", accept("ar"), "de"},
		{"an endless wish", strings.Repeat("ar ", 1000), accept("de"), "de"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := web.Choose(test.uiLocales, test.header).Tag(); got != test.want {
				t.Errorf("Choose(%.40q, %.80q) = %s, want %s", test.uiLocales, test.header, got, test.want)
			}
		})
	}
}

// FuzzChoose holds that anything that an app and a browser may send leads to a language that there is, and that a first wish of the
// app that can be met is met.
func FuzzChoose(f *testing.F) {
	f.Add("de ar", "en-US,en;q=0.9,de;q=0.8")
	f.Add("", "*, fi;q=0")
	f.Add("zh-Hant-TW-x-private", ";;q=,,q=1;de")
	f.Fuzz(func(t *testing.T, uiLocales, header string) {
		if got := web.Choose(uiLocales, accept(header)).Tag(); !slices.Contains(web.Languages(), got) {
			t.Errorf("Choose = %q, want one of %q", got, web.Languages())
		}
		if wish := "ar " + uiLocales; len(wish) <= 1024 {
			if got := web.Choose(wish, accept(header)).Tag(); got != "ar" {
				t.Errorf("Choose = %s, want ar", got)
			}
		}
	})
}

// TestSay: arguments are escaped and isolated, and Arabic has a form for each kind of number.
func TestSay(t *testing.T) {
	arabic := web.Choose("ar", nil)
	if arabic.Direction() != "rtl" || web.Choose("de", nil).Direction() != "ltr" {
		t.Error("Arabic is not written from right to left, or German is")
	}
	for got, want := range map[template.HTML]template.HTML{
		(*web.Language)(nil).Say("frame.back", "app", `<i>"A" & B</i>`):                     "Go back to <bdi>&lt;i&gt;&#34;A&#34; &amp; B&lt;/i&gt;</bdi>",
		arabic.Say("frame.back", "app", "App"):                                              "العودة إلى <bdi>App</bdi>",
		arabic.Say("frame.help", "code", web.Code("<a>")):                                   "هل تحتاج إلى مساعدة؟ أعطِ فريق الدعم هذا الرمز: <code>&lt;a&gt;</code>",
		arabic.Say("choose.provider.text", "domain", "example.com"):                         "اختر الجهة التي لديك فيها حساب للنطاق <b><bdi>example.com</bdi></b>.",
		arabic.Say("ability.days", "n", 1):                                                  "فعل ذلك لمدة تصل إلى يوم واحد، ما لم تسجّل الخروج",
		arabic.Say("ability.days", "n", 2):                                                  "فعل ذلك لمدة تصل إلى يومين، ما لم تسجّل الخروج",
		arabic.Say("ability.days", "n", 7):                                                  "فعل ذلك لمدة تصل إلى 7 أيام، ما لم تسجّل الخروج",
		arabic.Say("ability.days", "n", 14):                                                 "فعل ذلك لمدة تصل إلى 14 يومًا، ما لم تسجّل الخروج",
		arabic.Say("ability.days", "n", 100):                                                "فعل ذلك لمدة تصل إلى 100 يوم، ما لم تسجّل الخروج",
		web.Choose("de", nil).Day(time.Date(2026, time.March, 5, 23, 0, 0, 0, time.UTC)):    `<time datetime="2026-03-05">5. März 2026</time>`,
		(*web.Language)(nil).Day(time.Date(2026, time.November, 27, 23, 0, 0, 0, time.UTC)): `<time datetime="2026-11-27">27 November 2026</time>`,
	} {
		if got != want {
			t.Errorf("text = %q, want %q", got, want)
		}
	}
	for name, say := range map[string]func(){
		"a text that does not exist":  func() { arabic.Say("no.such.text") },
		"an argument that is missing": func() { arabic.Say("frame.back") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Say returned, want a panic", name)
				}
			}()
			say()
		}()
	}
}
