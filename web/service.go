package web

import "html/template"

// A Service describes the operator's service, as pages show it. Each field may be empty.
type Service struct {
	// Name is what people call the service.
	Name string
	// Logo is a data: URL of an image, or empty.
	Logo template.URL
	// PrivacyURL and TermsURL are the addresses of documents that every page links to.
	PrivacyURL, TermsURL string
}

// A Form holds what pages with a form have in common.
type Form struct {
	// Action is the path that the form is sent to, State the hidden value that it contains. Cancel and Another are the paths
	// for going back to the app, and to the OpenID provider; a page without such a button ignores them.
	Action, Cancel, Another, State string
	// Language is the language of the page. Nil is English.
	Language  *Language
	Service   Service
	RequestID string
}
