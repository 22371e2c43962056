// Package image is what a container's root file system is made of: names, a content-addressed store on disk, archives
// in and out, layers unpacked by a suspicious hand, and the overlay that stacks them.
//
// The store is an OCI image layout (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md):
//
//	LIB/images/oci-layout, index.json, blobs/sha256/…   what skopeo and friends can read as oci:LIB/images
//	LIB/images/names/<escaped reference>                 one small record for each name: the hot path of `run`
//	LIB/images/ids/<image id>                            one small record for each image
//	LIB/layers/<chain id>/                               one unpacked layer, in overlay's own form
//
// The records under names/ and ids/ are an index over the layout that is read without parsing anything large.
//
// What it is not: it does not check signatures, and it does not build images.
package image
