package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the release; the build may set it.
var version = "0.1.0-dev"

type versionCmd struct{}

func (versionCmd) Run(s *streams) error {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = " " + setting.Value
			}
		}
	}
	fmt.Fprintf(s.out, "issuer %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
