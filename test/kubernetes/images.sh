#!/usr/bin/env bash
# Builds the images of the Dockerfile where there is no container engine and no registry with base images. Debian's buildah
# builds, on two bases made of Debian's packages: one with Node, npm and a shell, one with a C library and certificates. It
# wants root, for file owners and chroot, Debian or Ubuntu, and the package registries. images.node.ts measures what it made.
#
#   bash test/kubernetes/images.sh OUT [light|heavy]…      OUT/treeline-light.tar, …: docker archives, one per image
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
cache=${TREELINE_CACHE:-$HOME/.cache/treeline}/buildah
runtime_packages=(base-files libc6 libgcc-s1 libstdc++6 zlib1g libssl3 ca-certificates tzdata)
build_packages=("${runtime_packages[@]}" bash dash coreutils sed grep findutils tar gzip libatomic1 libtinfo6 libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10)
tool_packages=(buildah crun libgpgme11 libassuan0 libgpg-error0 libsubid4 libyajl2 libdevmapper1.02.1 libseccomp2)

# Packages, unpacked into a folder: complete or absent.
unpack() {
  local to=$1; shift
  [ -d "$to" ] && return
  rm -rf "$to.part"; mkdir -p "$to.part/debs"
  (cd "$to.part/debs" && apt-get -q -o APT::Sandbox::User=root download "$@" >/dev/null)
  for deb in "$to.part"/debs/*.deb; do dpkg -x "$deb" "$to.part"; done
  rm -rf "$to.part/debs" "$to.part"/usr/share/{doc,man,locale,info,lintian}
  mkdir -p "$to.part/etc/ssl/certs" "$to.part/tmp"; chmod 1777 "$to.part/tmp"
  cp -L /etc/ssl/certs/ca-certificates.crt "$to.part/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin\n' > "$to.part/etc/passwd"
  printf 'root:x:0:\n' > "$to.part/etc/group"
  mv "$to.part" "$to"
}

# The node that runs this is the one of the images, as the Dockerfile names one that cannot be had here.
add_node() {
  local root=$1
  [ -e "$root/usr/local/bin/node" ] && return
  [ -e "$root/bin/sh" ] || ln -s dash "$root/bin/sh"
  mkdir -p "$root/usr/local/bin" "$root/usr/local/lib/node_modules" "$root/root"
  cp -r "$(dirname "$(readlink -f "$(command -v npm)")")/.." "$root/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  cp "$(readlink -f "$(command -v node)")" "$root/usr/local/bin/node"
}

build() {
  local out=$1; shift
  mkdir -p "$out" "$cache"
  out=$(cd "$out" && pwd)
  unpack "$cache/runtime" "${runtime_packages[@]}"
  unpack "$cache/node" "${build_packages[@]}"
  add_node "$cache/node"
  printf '{"default":[{"type":"insecureAcceptAnything"}]}' > "$cache/policy.json"
  printf 'unqualified-search-registries=[]\n' > "$cache/registries.conf"
  # Layers stay there for the next time.
  local work=$cache/storage
  mkdir -p "$work"
  printf '[storage]\ndriver="overlay"\nrunroot="%s/run"\ngraphroot="%s/graph"\n' "$work" "$work" > "$work/storage.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_REGISTRIES_CONF=$cache/registries.conf BUILDAH_ISOLATION=chroot
  local path='PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  base node --env "$path" --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
  base runtime --env "$path"
  for target in "${@:-light}"; do
    bh bud --layers --pull-never --signature-policy "$cache/policy.json" --ignorefile "$here/.dockerignore" \
      --build-arg NODE_IMAGE=localhost/node:lab --build-arg RUNTIME_IMAGE=localhost/runtime:lab \
      --target "$target" -t "localhost/treeline:$target" -f "$here/Dockerfile" "$here"
    rm -f "$out/treeline-$target.tar"
    bh push --signature-policy "$cache/policy.json" "localhost/treeline:$target" "docker-archive:$out/treeline-$target.tar:localhost/treeline:$target"
  done
}

# It starts itself anew without any LD_LIBRARY_PATH, so that its libraries have to be where the loader looks; that they are
# in a namespace of ours alone.
bh() {
  PATH=$cache/tools/usr/bin:$PATH buildah "$@"
}

base() {
  local name=$1; shift
  local made; made=$(bh from scratch)
  bh copy -q "$made" "$cache/$name" / >/dev/null
  bh config "$@" "$made"
  bh commit -q --signature-policy "$cache/policy.json" "$made" "localhost/$name:lab" >/dev/null
  bh rm "$made" >/dev/null
}

# Begins: the tools, then everything else in a mount namespace that has their libraries.
libraries=usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
if [ "${1:-}" != --inside ]; then
  [ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }
  mkdir -p "$cache"
  unpack "$cache/tools" "${tool_packages[@]}"
  exec unshare --mount bash "$0" --inside "$@"
fi
shift
lower=$cache/tools/$libraries:$cache/tools/${libraries#usr/}
mount -t overlay overlay -o "lowerdir=$lower:/$libraries" "/$libraries"
build "$@"
