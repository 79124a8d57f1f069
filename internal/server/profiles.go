package server

import (
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"

	"github.com/labstack/echo/v4"
)

// profilesPath is the path of the profiles at the admin socket. They have names of functions and addresses in memory, and no data.
const profilesPath = "/debug/pprof/"

// profileRoutes is the table of the profiles of the process, for `go tool pprof`.
func (s *Server) profileRoutes() []route {
	list := []route{
		{http.MethodGet, profilesPath, echo.WrapHandler(http.HandlerFunc(pprof.Index)), ownOrigin, notCounted},
		{http.MethodGet, profilesPath + "profile", echo.WrapHandler(http.HandlerFunc(pprof.Profile)), ownOrigin, notCounted},
		{http.MethodGet, profilesPath + "trace", echo.WrapHandler(http.HandlerFunc(pprof.Trace)), ownOrigin, notCounted},
		{http.MethodGet, profilesPath + "cmdline", echo.WrapHandler(http.HandlerFunc(pprof.Cmdline)), ownOrigin, notCounted},
		{http.MethodGet, profilesPath + "symbol", echo.WrapHandler(http.HandlerFunc(pprof.Symbol)), ownOrigin, notCounted},
	}
	for _, p := range runtimepprof.Profiles() {
		handler := echo.WrapHandler(pprof.Handler(p.Name()))
		list = append(list, route{http.MethodGet, profilesPath + p.Name(), handler, ownOrigin, notCounted})
	}
	return list
}
