"""What is in the box's image, as a CycloneDX bill of materials: read from the finished image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import smolagents_hardened
from smolagents_hardened import inventory
from smolagents_hardened.backends import payload
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.choice import choose
from smolagents_hardened.errors import BackendUnavailable
from smolagents_hardened.inventory import Entry

try:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL
except ImportError as error:
    raise BackendUnavailable("the SBOM library is missing. Run: pip install 'smolagents-hardened[sbom]'") from error

Say = Callable[[str], None]
LOCK = "opt/packages.lock"  # in images; a native root has the packages of this environment
PROPERTY = "smolagents-hardened:"


def of_backend(name: str, say: Say, imports: Sequence[str] = ()) -> str:
    """The bill of materials of the image that `name` ("docker", "native") has for `imports`, as JSON text.

    The image is built where it is missing. Raises BackendUnavailable.
    """
    backend = choose(name, frozenset(), say, imports)
    try:
        manifest = backend.manifest(imports)
        return render(manifest, entries(backend.name, manifest, say))
    finally:
        backend.close()


def entries(backend: str, manifest: Manifest, say: Say) -> list[Entry]:
    """Every file of the image."""
    if backend == "native":
        from smolagents_hardened.backends import native_root

        return inventory.of_directory(native_root.home() / manifest.image.partition(":")[2] / "root")
    from smolagents_hardened.backends import docker_engine

    client = docker_engine.connect()
    try:
        with docker_engine.translated("export the image"):
            return inventory.of_engine(client, manifest.image)
    finally:
        client.close()


def render(manifest: Manifest, found: Sequence[Entry]) -> str:
    """CycloneDX 1.6: the interpreter, each package, our own code, each shared object from outside the packages."""
    name, _, version = manifest.image.partition(":")
    image = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref="image")
    image.properties.add(Property(name=f"{PROPERTY}content-sha256", value=inventory.digest(found)))
    for entry in found:
        if entry.path == LOCK:
            image.properties.add(Property(name=f"{PROPERTY}lock-sha256", value=entry.sha256))
    bom = Bom(components=[_python(manifest), _guest(), *_packages(manifest), *_libraries(found)])
    bom.metadata.component = image
    bom.register_dependency(image, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"


def _python(manifest: Manifest) -> Component:
    return Component(
        name="cpython",
        version=manifest.python,
        type=ComponentType.APPLICATION,
        bom_ref="cpython",
        purl=PackageURL("generic", None, "cpython", manifest.python),
        cpe=f"cpe:2.3:a:python:python:{manifest.python}:*:*:*:*:*:*:*",
    )


def _guest() -> Component:
    version = smolagents_hardened.__version__
    return Component(
        name="smolagents-hardened",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="smolagents-hardened",
        purl=PackageURL("pypi", None, "smolagents-hardened", version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=payload.digest(payload.files()))],
    )


def _packages(manifest: Manifest) -> Iterable[Component]:
    for name, version in sorted(manifest.packages.items()):
        purl = PackageURL("pypi", None, name.lower().replace("_", "-"), version)
        yield Component(name=name, version=version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl))


def _libraries(found: Sequence[Entry]) -> Iterable[Component]:
    for entry in found:
        if entry.is_shared_object and not entry.path.startswith("opt/packages/"):
            digest = HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)
            yield Component(name=f"/{entry.path}", type=ComponentType.FILE, hashes=[digest], bom_ref=f"/{entry.path}")
