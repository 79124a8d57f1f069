package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
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
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if c.JSON {
		return printJSON(s, struct {
			Version  string `json:"version"`
			Revision string `json:"revision,omitempty"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{version, revision, runtime.Version(), platform})
	}
	if revision != "" {
		revision = " " + revision
	}
	fmt.Fprintf(s.out, "issuer %s%s %s %s\n", version, revision, runtime.Version(), platform)
	return nil
}
