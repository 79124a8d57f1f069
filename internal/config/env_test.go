package config_test

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
)

// TestEveryScalarByEnvironment sets each setting that is a scalar, and each element of a list of scalars, by its variable.
func TestEveryScalarByEnvironment(t *testing.T) {
	openCases(t, "testdata/good/all.txtar", func(t *testing.T, c settingsCase) {
		c.env = nil
		before, err := c.load()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		scalars(t, reflect.ValueOf(before).Elem(), "", "", func(path, oneof string, v reflect.Value, at func(*config.Config) reflect.Value) {
			n++
			name := "ISSUER_" + strings.ToUpper(strings.NewReplacer(".", "__", "[", "__", "]", "").Replace(path))
			value := other(t, v, oneof)
			c.env = []string{name + "=" + value}
			after, err := c.load()
			if err == nil {
				if got := at(after); reflect.DeepEqual(got.Interface(), v.Interface()) {
					t.Errorf("%s=%s leaves %s as it is in the file: %v", name, value, path, got)
				}
				return
			}
			// The value does not fit the other settings. It was read if an error names this variable, its setting, the list
			// around it, or another setting that contradicts it. It was not read if its own key is unknown.
			says := value
			if v.Kind() == reflect.Bool { // errors name the key
				says = path[strings.LastIndex(path, ".")+1:]
			}
			read := false
			for _, e := range err.(config.Errors) {
				if strings.Contains(e.Message, "unknown key") || strings.Contains(e.Message, "has no key") {
					t.Errorf("%s=%s: Load = %v, want %s to be read from it", name, value, err, path)
				}
				read = read || e.File == "environment "+name || e.Path == path || strings.HasPrefix(path, e.Path+"[") ||
					len(says) > 3 && strings.Contains(e.Message, says)
			}
			if !read {
				t.Errorf("%s=%s: Load = %v, want faults that %s makes", name, value, err, path)
			}
		})
		if n < 50 {
			t.Errorf("only %d settings were tried", n)
		}
	})
}

// scalars calls each for every setting that is a scalar, with its path, its possible values, its value, and a function that finds
// it in other settings. Every list of structs has an element in at least one of the places where the settings have it.
func scalars(t *testing.T, v reflect.Value, path, oneof string, each func(path, oneof string, v reflect.Value, at func(*config.Config) reflect.Value)) {
	empty, filled := make(map[string]bool), make(map[string]bool) // lists, without indices
	var walk func(v reflect.Value, path, oneof string, at func(*config.Config) reflect.Value)
	walk = func(v reflect.Value, path, oneof string, at func(*config.Config) reflect.Value) {
		keyed := false
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				tag := v.Type().Field(i).Tag
				key, _, _ := strings.Cut(tag.Get("key"), ",")
				if key == "" {
					continue
				}
				keyed = true
				walk(v.Field(i), strings.TrimPrefix(path+"."+key, "."), tag.Get("oneof"), func(c *config.Config) reflect.Value { return at(c).Field(i) })
			}
		}
		switch {
		case keyed:
		case v.Kind() == reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem().NumField() > 2 {
				list := indices.ReplaceAllString(path, "")
				empty[list] = empty[list] || v.Len() == 0
				filled[list] = filled[list] || v.Len() > 0
			}
			for i := range v.Len() {
				walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), oneof, func(c *config.Config) reflect.Value { return at(c).Index(i) })
			}
		case v.Kind() == reflect.Map: // its keys are not settings
		default:
			each(path, oneof, v, at)
		}
	}
	walk(v, path, oneof, func(c *config.Config) reflect.Value { return reflect.ValueOf(c).Elem() })
	for list := range empty {
		if !filled[list] {
			t.Errorf("testdata/good/all.txtar has no element of %s", list)
		}
	}
}

var indices = regexp.MustCompile(`\[\d+\]`)

// other returns a value that differs from that of a setting.
func other(t *testing.T, v reflect.Value, oneof string) string {
	t.Helper()
	if oneof != "" {
		for _, word := range strings.Split(oneof, ",") {
			if word != v.String() {
				return word
			}
		}
		return "another"
	}
	switch x := v.Interface().(type) {
	case string:
		return x + "x"
	case bool:
		return fmt.Sprint(!x)
	case int:
		return fmt.Sprint(x + 1)
	case time.Duration:
		return (x - time.Second).String()
	case config.Rate:
		return fmt.Sprintf("%d/7s", x.Count+1)
	case config.Share:
		return fmt.Sprint(0.75 - 0.5*x)
	case config.Period:
		return (time.Duration(x) + time.Hour).String()
	case [32]byte:
		x[0]++
		return hex.EncodeToString(x[:])
	case fmt.Stringer: // a network
		return "192.0.2.0/24"
	}
	t.Fatalf("no way to change a %s", v.Type())
	return ""
}
