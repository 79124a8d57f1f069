// Package deployment tests the files in packaging that other programs read: it builds the container in a folder, as the Containerfile says,
// and starts the program in it; and it holds the files of Compose and Kubernetes to the schemas of those programs, and the settings in them
// to `issuer config check`.
package deployment
