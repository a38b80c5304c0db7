#!/usr/bin/env bash
# soundfile: floats written to a WAV file are rounded down, those written to a FLAC file are rounded.
#
# Expected: a float sample becomes the nearest 16-bit value: a mean error of 0 and a mean square of 1/12 step squared.
#     The same sound as WAV and as FLAC, both lossless, has the same samples.
# Happens: in WAV and AIFF, of any number of bits, the mean error is half a step, downwards, and the mean square is 1/3:
#     6 dB more noise than the format needs. Only FLAC is right, so half of its samples differ from the WAV's.
#     libsndfile alone rounds; soundfile switches on clipping (SFC_SET_CLIPPING), and the loops with clipping drop the
#     lower bits of a 32-bit number.
# Versions: soundfile 0.14.0 with the libsndfile 1.2.2 of its wheels; mended on libsndfile's main branch in 2023.
# Source: https://github.com/libsndfile/libsndfile/issues/362 and https://github.com/libsndfile/libsndfile/pull/959
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6 soundfile==0.14.0
venv/bin/python - << 'EOF'
import sys

import numpy as np
import soundfile

print("soundfile", soundfile.__version__, "version of libsndfile", soundfile.__libsndfile_version__)
sound = np.random.default_rng(0).uniform(-0.9, 0.9, 100_000)
samples = {}
for form, bits in [("wav", 16), ("wav", 24), ("aiff", 16), ("aiff", 24), ("flac", 16), ("flac", 24)]:
    name = f"{bits}.{form}"
    soundfile.write(name, sound, 16_000, subtype=f"PCM_{bits}")
    samples[name] = soundfile.read(name)[0] * 2 ** (bits - 1)
    errors = samples[name] - sound * 2 ** (bits - 1)
    print(f"{name}: mean error {errors.mean():+.3f} steps, mean square {np.square(errors).mean():.4f}")
    mean, square = (0, 1 / 12) if form == "flac" else (-1 / 2, 1 / 3)
    if abs(errors.mean() - mean) > 0.01 or abs(np.square(errors).mean() - square) > 0.01:
        sys.exit("changed: samples are rounded in another way")
print(f"{(samples['16.wav'] != samples['16.flac']).mean():.0%} of the samples differ between WAV and FLAC")
EOF
