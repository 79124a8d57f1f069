package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/imidentity/issuer/internal/issuer"
)

// version is the release. The build may set it.
var version = "0.1.0-dev"

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (*versionCmd) Help() string {
	return `It prints the release, the revision, the Go version and the platform:

    issuer version

JSON is {"version", "revision", "go", "platform"}; revision is absent if the build had no version control.`
}

func (c *versionCmd) Run(s *streams) error {
	build := thisBuild()
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if c.JSON {
		return printJSON(s, struct {
			Version  string `json:"version"`
			Revision string `json:"revision,omitempty"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{build.Version, build.Revision, runtime.Version(), platform})
	}
	line := build.Version
	if build.Revision != "" {
		line += " " + build.Revision
	}
	fmt.Fprintf(s.out, "issuer %s %s %s\n", line, runtime.Version(), platform)
	return nil
}

// thisBuild returns the release of this program, and the revision that it was built from if the build had version control.
func thisBuild() issuer.Build {
	b := issuer.Build{Version: version}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				b.Revision = setting.Value
			}
		}
	}
	return b
}
