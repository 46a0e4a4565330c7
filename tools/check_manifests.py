"""Checks the manifests of deploy/ without a cluster.

    pip install kubernetes-validate six urllib3; pip install --no-deps kserve
    python3 tools/check_manifests.py

- kubernetes.yaml against the schemas of the oldest Kubernetes that it names and of the newest,
  unknown keys refused;
- kserve.yaml by making KServe's own objects of it, what is of Kubernetes in them by the newest
  schemas;
- what schemas do not see: names that refer to each other, the restricted Pod Security Standard,
  whole CPUs, and that nothing is killed before it has drained.
"""

import importlib
import importlib.util
import re
import sys
import types

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils
from referencing import Registry, Resource

from deployment import DEPLOY, commands, documents, only

# Where the names of Kubernetes' types in KServe's classes are in its schemas.
PLACES = {
    "V1ObjectMeta": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    "K8sIoApiAppsV1DeploymentStrategy": "io.k8s.api.apps.v1.DeploymentStrategy",
}


class Kserve:
    """Makes KServe's objects of what a manifest says."""

    PLAIN = {"str": str, "int": int, "bool": bool, "object": object}

    def __init__(self):
        # Only its classes: the package itself begins with its server, and all that needs.
        package = types.ModuleType("kserve")
        package.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
        sys.modules["kserve"] = package
        self.models = importlib.import_module("kserve.models")
        version = utils.latest_version()
        self.schemas = utils.schema_contents(
            f"kubernetes-json-schema/v{version}-local-strict/_definitions.json", version)
        self.registry = Resource.from_contents(self.schemas) @ Registry()

    def make(self, document):
        """The object of a document."""
        group, version = document["apiVersion"].split("/")
        assert group == "serving.kserve.io", f"{document['apiVersion']} is not KServe's"
        return self.of(version.capitalize() + document["kind"], document, document["kind"])

    def of(self, kind, value, where):
        """The value as the type that the name of a kind says."""
        if inner := re.fullmatch(r"list\[(.*)\]", kind):
            assert isinstance(value, list), f"{where} is {value!r}, expected a list"
            return [self.of(inner[1], item, f"{where}[{at}]") for at, item in enumerate(value)]
        if inner := re.fullmatch(r"dict\(str, (.*)\)", kind):
            assert isinstance(value, dict), f"{where} is {value!r}, expected a map"
            return {key: self.of(inner[1], item, f"{where}.{key}") for key, item in value.items()}
        if plain := self.PLAIN.get(kind):
            right = isinstance(value, plain) and (kind != "int" or not isinstance(value, bool))
            assert right, f"{where} is {value!r}, expected {kind}"
            return value
        if model := getattr(self.models, kind, None):
            keys = {key: name for name, key in model.attribute_map.items()}
            unknown = value.keys() - keys.keys()
            assert not unknown, f"{where} has no {sorted(unknown)}; it has {sorted(keys)}"
            parts = {keys[key]: self.of(model.openapi_types[keys[key]], item, f"{where}.{key}")
                     for key, item in value.items()}
            return model(**parts)
        place = PLACES.get(kind, f"io.k8s.api.core.v1.{kind.removeprefix('V1')}")
        schema = {"$ref": f"{self.schemas['$id']}#/$defs/{place}"}
        jsonschema.Draft202012Validator(schema, registry=self.registry).validate(value)
        return value


def check_kubernetes(found):
    """The documents against Kubernetes' schemas."""
    text = (DEPLOY / "kubernetes.yaml").read_text()
    oldest = re.search(r"Kubernetes (1\.\d+) or later", text)[1]
    for version in (oldest, kubernetes_validate.latest_version()):
        for document in found:
            used = kubernetes_validate.validate(document, version, strict=True)
            assert utils.major_minor(version) == used, f"no schemas of {version}, only of {used}"
        print(f"kubernetes.yaml: {len(found)} documents are right in Kubernetes {version}")


def check_names(found):
    """What refers to what in kubernetes.yaml."""
    deployment = only(found, "Deployment")
    template = deployment["spec"]["template"]
    labels, pod = template["metadata"]["labels"].items(), template["spec"]
    (container,) = pod["containers"]
    ports = {port["name"] for port in container["ports"]}
    service, policy = only(found, "Service")["spec"], only(found, "NetworkPolicy")["spec"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]),
        service["selector"],
        only(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector and selector.items() <= labels, f"{selector} selects no pod"
    used = {port["targetPort"] for port in service["ports"]}
    used |= {container[probe]["httpGet"]["port"]
             for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    used |= {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert used == ports, f"ports {sorted(used)} are used, {sorted(ports)} are there"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}, f"mounted are {mounted}"
    target = only(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    scaled = {key: deployment[key] for key in ("apiVersion", "kind")}
    scaled["name"] = deployment["metadata"]["name"]
    assert target == scaled, f"the autoscaler scales {target}, expected {scaled}"


def check_container(file, container, pod):
    """Whole CPUs, and the restricted Pod Security Standard."""
    limits, requests = (container["resources"][key] for key in ("limits", "requests"))
    cpus = limits["cpu"]
    assert cpus.isdigit(), f"{file}: the limit of CPUs is {cpus}, expected a whole number"
    assert limits == requests, f"{file}: {requests} are requested, {limits} are the limits"
    context = {**pod.get("securityContext", {}), **container["securityContext"]}
    expected = {
        "runAsNonRoot": True, "allowPrivilegeEscalation": False, "privileged": False,
        "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for key, value in expected.items():
        assert context.get(key) == value, f"{file}: {key} is {context.get(key)}, expected {value}"


def main():
    found = documents("kubernetes.yaml")
    check_kubernetes(found)
    check_names(found)
    pod = only(found, "Deployment")["spec"]["template"]["spec"]
    check_container("kubernetes.yaml", pod["containers"][0], pod)

    kserve, found = Kserve(), documents("kserve.yaml")
    for document in found:
        made = kserve.make(document)
        print(f"kserve.yaml: {type(made).__name__} {document['metadata']['name']} is right")
    runtime, service = only(found, "ServingRuntime"), only(found, "InferenceService")
    check_container("kserve.yaml", runtime["spec"]["containers"][0], {})
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"], f"{model['runtime']} is no runtime here"
    formats = {known["name"] for known in runtime["spec"]["supportedModelFormats"]}
    assert model["modelFormat"]["name"] in formats, f"the runtime reads {formats}"
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]

    for command in commands():
        drained = command.seconds("drain-delay") + command.seconds("drain")
        assert command.flag("drain"), f"{command.file}: --drain is left to its default"
        ends = f"{command.file}: drained after {drained} s, killed after {command.grace}"
        assert command.grace > drained, ends
        print(ends)


if __name__ == "__main__":
    main()
