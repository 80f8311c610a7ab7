"""OpenML as a second source, against a local stand-in for its server."""

import hashlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from sal.data import DATASETS, DataCorrupt, DataMissing, content_sha256, load

openml = pytest.importorskip("openml")

OPENML_ID = {"semeion": 1501, "usps": 41082, "mnist": 554, "cifar10": 40927, "svhn": 41081}
DESCRIPTION = """<oml:data_set_description xmlns:oml="http://openml.org/openml">
<oml:id>{id}</oml:id><oml:name>{key}</oml:name><oml:version>1</oml:version>
<oml:description>a stand-in</oml:description><oml:format>ARFF</oml:format>
<oml:licence>Public</oml:licence><oml:url>{address}/data/{id}.arff</oml:url>
<oml:file_id>{id}</oml:file_id><oml:default_target_attribute>class</oml:default_target_attribute>
<oml:visibility>public</oml:visibility><oml:status>active</oml:status>
<oml:md5_checksum>{md5}</oml:md5_checksum></oml:data_set_description>"""
FEATURE = """<oml:feature><oml:index>{index}</oml:index><oml:name>{name}</oml:name>
<oml:data_type>{type}</oml:data_type>{values}<oml:is_target>{target}</oml:is_target>
<oml:is_ignore>false</oml:is_ignore><oml:is_row_identifier>false</oml:is_row_identifier>
<oml:number_of_missing_values>0</oml:number_of_missing_values></oml:feature>"""


def as_openml_has_it(key, official):
    """(values [N,D], labels [N]) of the set, encoded as OpenML's uploader chose."""
    images = np.concatenate([official.arrays[n] for n in sorted(official.arrays, reverse=True)
                             if n.endswith("images")])  # fmt: skip
    labels = np.concatenate([official.arrays[n] for n in sorted(official.arrays, reverse=True)
                             if n.endswith("labels")])  # fmt: skip
    x = images.reshape(len(images), -1)
    if key == "usps":  # uint8((x + 1) / 2 * 255) of these is what is stored
        x = np.vectorize({0: -1.0, 50: -0.6, 63: -0.5, 127: 0.0, 191: 0.5, 255: 1.0}.get)(x)
    if key in ("cifar10", "svhn"):  # one grey in three colours: its luma is that grey
        order = (0, 3, 1, 2) if key == "cifar10" else (0, 1, 2, 3)
        x = np.stack([images] * 3, axis=-1).transpose(order).reshape(len(images), -1)
    shifted = {"semeion": labels + 1, "usps": labels + 1, "svhn": np.where(labels, labels, 10)}
    return x, shifted.get(key, labels)


@pytest.fixture
def serve(server, monkeypatch):
    """Put a set onto the stand-in."""

    def put(key, x_ND, y_N):
        number = OPENML_ID[key]
        names = [f"pixel{index}" for index in range(1, x_ND.shape[1] + 1)]
        classes = sorted({str(label) for label in y_N})
        arff = [f"@RELATION {key}", *(f"@ATTRIBUTE {name} NUMERIC" for name in names)]
        arff += [f"@ATTRIBUTE class {{{','.join(classes)}}}", "@DATA"]
        arff += [
            ",".join([*(f"{value:g}" for value in row), str(label)])
            for row, label in zip(x_ND, y_N, strict=True)
        ]
        nominal = "".join(f"<oml:nominal_value>{name}</oml:nominal_value>" for name in classes)
        features = [
            FEATURE.format(index=i, name=name, type="numeric", values="", target="false")
            for i, name in enumerate(names)
        ] + [
            FEATURE.format(
                index=len(names), name="class", type="nominal", values=nominal, target="true"
            )
        ]
        content = "\n".join([*arff, ""]).encode()
        told = {"id": number, "key": key, "address": server.address}
        files = {
            f"/api/v1/xml/data/{number}": DESCRIPTION.format(
                md5=hashlib.md5(content).hexdigest(), **told
            ),
            f"/api/v1/xml/data/features/{number}": (
                '<oml:data_features xmlns:oml="http://openml.org/openml">'
                f"{''.join(features)}</oml:data_features>"
            ),
        }
        server.files |= {path: text.encode() for path, text in files.items()}
        server.files[f"/data/{number}.arff"] = content
        monkeypatch.setattr(openml.config, "server", f"{server.address}/api/v1/xml")

    return put


@pytest.fixture
def only_openml(make, publish, server, monkeypatch):
    """A set whose official files are gone from their server: its arrays, and facts about it."""

    def publish_and_lose(key, **overrides):
        official = make(key)
        others = DATASETS[key].sources[1:]
        spec = publish(official, **overrides)
        monkeypatch.setitem(DATASETS, key, replace(spec, sources=(*spec.sources, *others)))
        for name in official.files:
            del server.files[f"/{name}"]
        return official

    return publish_and_lose


@pytest.mark.parametrize("key", OPENML_ID)
def test_openml_stands_in_where_official_files_cannot_be_had(key, only_openml, serve, root):
    official = only_openml(key)
    serve(key, *as_openml_has_it(key, official))
    dataset = load(key, root=root)
    for name, array in official.arrays.items():
        assert np.array_equal(getattr(dataset, name).numpy(), array)
    assert {path.name for path in root.iterdir()} <= {f"{key}.npz", f".{key}.lock", "official"}


def test_a_copy_with_another_digest_is_refused(only_openml, serve, root):
    x, y = as_openml_has_it("usps", only_openml("usps"))
    x[3, 100] = -x[3, 100] or 1.0
    serve("usps", x, y)
    with pytest.raises(
        DataCorrupt, match="OpenML 41082 is not the official USPS: .*digest differs"
    ):
        load("usps", root=root)
    assert not (root / "usps.npz").exists()


def test_a_copy_in_another_order_is_refused(only_openml, serve, root):
    x, y = as_openml_has_it("mnist", only_openml("mnist"))
    serve("mnist", x[::-1], y[::-1])
    with pytest.raises(DataCorrupt, match="OpenML 554 is not the official MNIST"):
        load("mnist", root=root)


def test_a_copy_with_other_counts_is_refused(only_openml, serve, root):
    x, y = as_openml_has_it("semeion", only_openml("semeion"))
    serve("semeion", x[:-1], y[:-1])
    with pytest.raises(DataCorrupt, match="5 rows of 256 values; Semeion officially has 6 of 256"):
        load("semeion", root=root)


def test_a_file_that_is_not_what_openml_says_is_not_read(only_openml, serve, server, root):
    serve("semeion", *as_openml_has_it("semeion", only_openml("semeion")))
    server.files["/data/1501.arff"] += b"%\n"
    with pytest.raises(DataMissing, match="OpenML 1501: .*[Cc]hecksum"):
        load("semeion", root=root)


def test_where_no_digest_is_known_openml_is_not_asked(only_openml, serve, server, root):
    official = only_openml("svhn", content_sha256=None)
    serve("svhn", *as_openml_has_it("svhn", official))
    with pytest.raises(DataMissing, match="OpenML 41081: it has no checksum.*not asked"):
        load("svhn", root=root)
    assert not [path for path, _ in server.requests if "xml" in path]


def test_where_the_digest_is_recorded_openml_is_asked(only_openml, serve, root):
    official = only_openml("svhn", content_sha256=None)
    serve("svhn", *as_openml_has_it("svhn", official))
    root.mkdir()
    digest = content_sha256(official.arrays)
    (root / "digests.json").write_text(json.dumps({"svhn": digest}))
    assert load("svhn", root=root).sha256 == digest


def test_what_else_was_tried_is_said_where_a_copy_is_refused(only_openml, serve, root):
    x, y = as_openml_has_it("usps", only_openml("usps"))
    serve("usps", x, y[::-1])
    with pytest.raises(DataCorrupt, match="usps.bz2: HTTP 404") as caught:
        load("usps", root=root)
    assert "nobody vouches for" in str(caught.value)
    assert "checksums held" not in str(caught.value)


def test_without_the_package_the_error_says_what_to_install(only_openml, root, monkeypatch):
    only_openml("usps")
    monkeypatch.setitem(sys.modules, "openml", None)
    with pytest.raises(DataMissing, match=r"OpenML 41082: the package.*pip install"):
        load("usps", root=root)


def test_openml_is_not_asked_where_the_official_files_are_there(make, publish, server, root):
    publish(make("usps"))
    load("usps", root=root)
    assert not [path for path, _ in server.requests if "xml" in path]


def test_openmls_own_settings_are_left_as_they_were(only_openml, serve, root):
    before = openml.config.get_config_as_dict() | {"server": None}
    serve("semeion", *as_openml_has_it("semeion", only_openml("semeion")))
    load("semeion", root=root)
    assert openml.config.get_config_as_dict() | {"server": None} == before


def test_a_server_that_is_not_there_is_named(only_openml, root, monkeypatch):
    only_openml("semeion")
    monkeypatch.setattr(openml.config, "server", "http://127.0.0.1:9/api/v1/xml")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(DataMissing, match="OpenML 1501: "):
        load("semeion", root=root)
