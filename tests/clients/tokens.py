"""Makes tokens with PyJWT: keys and tokens of every algorithm that Ullim takes, and some that it must not take.

tokens.py FOLDER: writes <name>.pem (public keys), jwks.json, and prints one JSON object: name -> token.
"""

import json
import pathlib
import sys
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "a secret of the end-to-end tests, which protects nothing"

folder = pathlib.Path(sys.argv[1])
keys = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
weak = rsa.generate_private_key(65537, 1024)
stranger = rsa.generate_private_key(65537, 2048)
to_jwk = {"RS256": RSAAlgorithm.to_jwk, "ES256": ECAlgorithm.to_jwk, "EdDSA": OKPAlgorithm.to_jwk}

pem = {}
jwks = []
for algorithm, key in keys.items():
    pem[algorithm] = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{algorithm}.pem").write_bytes(pem[algorithm])
    jwk = to_jwk[algorithm](key.public_key(), as_dict=True)
    jwks.append({**jwk, "kid": f"set-{algorithm}", "use": "sig"})
jwks.append({**RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True), "kid": "weak"})
jwks.append({"kty": "oct", "kid": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI"})
(folder / "jwks.json").write_text(json.dumps({"keys": jwks}))

now = int(time.time())
good = {"sub": "alice", "exp": now + 600, "aud": "ullim", "iss": "https://id.example"}


def token(algorithm, key, kid=None, headers=None, **changes):
    claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
    headers = dict(headers or {})
    if kid:
        headers["kid"] = kid
    return jwt.encode(claims, key, algorithm, headers=headers)


def forge(header, claims, signature=b""):
    """A token that no library would make."""
    part = lambda value: jwt.utils.base64url_encode(json.dumps(value).encode()).decode()
    return f"{part(header)}.{part(claims)}.{jwt.utils.base64url_encode(signature).decode()}"


def confused(kid):
    """HS256, with the text of the public key as the secret (CVE-2016-10555)."""
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head = forge({"alg": "HS256", "typ": "JWT", "kid": kid}, good).rsplit(".", 1)[0]
    signature = algorithm.sign(head.encode(), pem["RS256"])
    return f"{head}.{jwt.utils.base64url_encode(signature).decode()}"


accepted = {"HS256": token("HS256", SECRET)}
for algorithm, key in keys.items():
    accepted[algorithm] = token(algorithm, key, kid=f"own-{algorithm}")
    accepted[f"{algorithm} of the set"] = token(algorithm, key, kid=f"set-{algorithm}")
accepted["several audiences"] = token("RS256", keys["RS256"], kid="own-RS256", aud=["other", "ullim"])

rs256 = lambda **changes: token("RS256", keys["RS256"], kid="own-RS256", **changes)
refused = {
    "algorithm confusion": confused("own-RS256"),
    "algorithm confusion with a key of the set": confused("set-RS256"),
    "none": forge({"alg": "none", "kid": "own-RS256"}, good),
    "None": forge({"alg": "None"}, good),
    "no alg": forge({"kid": "own-RS256"}, good),
    "another's kid": token("RS256", keys["RS256"], kid="own-ES256"),
    "unknown kid": token("RS256", keys["RS256"], kid="nobody's"),
    "a kid like a path": token("RS256", keys["RS256"], kid="../../../../dev/null"),
    "a huge kid": token("RS256", keys["RS256"], kid="k" * 5000),
    "RS512 with the right key": token("RS512", keys["RS256"], kid="own-RS256"),
    "PS256 with the right key": token("PS256", keys["RS256"], kid="own-RS256"),
    "a stranger's key": token("RS256", stranger, kid="own-RS256"),
    "a key that is too short": token("RS256", weak, kid="weak"),
    "a symmetric key of the set": token("HS256", "secretsecretsecretsecretsecret12", kid="oct"),
    "an embedded key": token("RS256", stranger, kid="x", headers={"jwk": RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)}),
    "a key by URL": token("RS256", stranger, kid="x", headers={"jku": "http://127.0.0.1:1/jwks.json"}),
    "critical headers": token("RS256", keys["RS256"], kid="own-RS256", headers={"crit": ["exp"]}),
    "not yet valid": rs256(nbf=now + 600),
    "another audience": rs256(aud="other"),
    "no audience": rs256(aud=None),
    "another issuer": rs256(iss="https://evil.example"),
    "an issuer that only begins so": rs256(iss="https://id.example.evil"),
    "no issuer": rs256(iss=None),
    "no sub": rs256(sub=None),
    "no exp": rs256(exp=None),
    "a subscription token": rs256(channel="chat:1"),
    "huge": rs256(filling="x" * 20000),
    "not JSON": "bm90IEpTT04.bm90IEpTT04.bm90IEpTT04",
    "claims of an array": forge({"alg": "RS256", "kid": "own-RS256"}, [good]),
}
expired = {"expired": rs256(exp=now - 1), "expired long ago": rs256(exp=1)}

print(json.dumps({"accepted": accepted, "refused": refused, "expired": expired}), flush=True)
