#!/usr/bin/env bash
# mlcroissant: Dataset(jsonld=...) writes a key into the dictionary that it was given.
#
# Expected: a reader leaves the metadata that it reads as it is, so validating a document before writing it is safe.
# Happens: the document's "@context" gets "@base": "cr_base_iri/", an address that means something inside the library
#     only. Who validates a dictionary and then writes it publishes a context in which every relative "@id" is resolved
#     against that base; and the library itself warns of it when it reads the result.
# Versions: mlcroissant 1.1.1.
# Source: measured here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet mlcroissant==1.1.1
venv/bin/python - << 'EOF'
import copy
import sys
from importlib.metadata import version

import mlcroissant

print("mlcroissant", version("mlcroissant"))
document = mlcroissant.Metadata(
    name="numbers",
    description="Three numbers.",
    license="https://creativecommons.org/licenses/by/4.0/",
    url="https://example.org/numbers",
    creators=[mlcroissant.Organization(name="Nobody")],
    date_published="2026-01-01",
    version="1.0.0",
    cite_as="Nobody, 2026",
).to_json()
before = copy.deepcopy(document)
mlcroissant.Dataset(jsonld=document)
added = {key: value for key, value in document["@context"].items() if key not in before["@context"]}
print("added to the caller's @context:", added)
if added != {"@base": "cr_base_iri/"}:
    sys.exit("changed: something else is added, or nothing")
if {**document, "@context": None} != {**before, "@context": None}:
    sys.exit("changed: more than the context differs")
EOF
