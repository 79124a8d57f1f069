// npm @peculiar/x509 reads our certificates.
//
// In the environment: CERTIFICATES (a JSON array of certificates in base64, that of the device first, in no order after that). Prints one
// JSON object: `chain`, the serial numbers from the device to the root, as the library builds it, `verified`, whether each signature
// verifies with the key of the next one, and the names `san` and `ian` of the first certificate, each as [type, value].
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

const [first, ...others] = JSON.parse(process.env.CERTIFICATES).map((der) => new x509.X509Certificate(Buffer.from(der, 'base64')))
const chain = await new x509.X509ChainBuilder({ certificates: others }).build(first)
const verified = []
for (const [i, certificate] of chain.entries()) {
  const issuer = chain[i + 1] ?? certificate
  verified.push(await certificate.verify({ publicKey: issuer.publicKey }))
}
const names = (extension) => (extension ? extension.names.items.map(({ type, value }) => [type, value]) : [])
console.log(JSON.stringify({
  chain: chain.map(({ serialNumber }) => serialNumber),
  verified,
  san: names(first.getExtension(x509.SubjectAlternativeNameExtension)),
  ian: names(first.getExtension(x509.IssuerAlternativeNameExtension)),
}))
