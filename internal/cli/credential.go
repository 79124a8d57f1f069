package cli

type credentialCmd struct {
	Get     credentialGetCmd     `cmd:"" help:"Get credentials of this device from the issuer."`
	Present credentialPresentCmd `cmd:"" help:"Print a presentation, which shows a credential to one verifier."`
	Verify  credentialVerifyCmd  `cmd:"" help:"Check a presentation, and explain the result."`
	Show    credentialShowCmd    `cmd:"" help:"Print the content of a credential or a presentation, without checking it."`
	Prove   credentialProveCmd   `cmd:"" help:"Print the proof of a key, for requests of credentials with curl."`
	Offer   credentialOfferCmd   `cmd:"" help:"Print an offer, by which a wallet gets a credential."`
}
