"""The field numbers of Kubernetes' protobuf messages, for the kinds that Go clients send in protobuf.

The numbers are part of the API (k8s.io/api/*/generated.proto) and never change. One line is one message; a field is
`name=number`, then its type after a colon (text when there is none), then marks:

    types   i integer, B boolean, b bytes, q quantity, x int-or-string, t time, u time with microseconds,
            - something we do not model (only that it is there), or the name of another message
    marks   * repeated, {} a map from text to the type, ? written even when zero or empty means something,
            ^ its fields belong to the message it is in

Fields that we do not model are in the tables too: then the client is told about them by name, as with JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MESSAGES_TEXT: Final = """
ObjectMeta name=1 generateName=2 namespace=3 selfLink=4 uid=5 resourceVersion=6 generation=7:i creationTimestamp=8:t
  deletionTimestamp=9:t deletionGracePeriodSeconds=10:i? labels=11{} annotations=12{} ownerReferences=13:OwnerReference*
  finalizers=14* managedFields=17:-*
OwnerReference kind=1 name=3 uid=4 apiVersion=5 controller=6:B? blockOwnerDeletion=7:B?
ObjectReference kind=1 namespace=2 name=3 uid=4 apiVersion=5 resourceVersion=6 fieldPath=7
LabelSelector matchLabels=1{} matchExpressions=2:LabelSelectorRequirement*
LabelSelectorRequirement key=1 operator=2 values=3*
Preconditions uid=1? resourceVersion=2?
DeleteOptions gracePeriodSeconds=1:i? preconditions=2:Preconditions? orphanDependents=3:B? propagationPolicy=4? dryRun=5*

ConfigMap metadata=1:ObjectMeta data=2{} binaryData=3:b{} immutable=4:B?
Secret metadata=1:ObjectMeta data=2:b{} type=3 stringData=4{} immutable=5:B?
ServiceAccount metadata=1:ObjectMeta secrets=2:ObjectReference* imagePullSecrets=3:LocalObjectReference*
  automountServiceAccountToken=4:B?
LocalObjectReference name=1
Namespace metadata=1:ObjectMeta spec=2:NamespaceSpec status=3:NamespaceStatus
NamespaceSpec finalizers=1*
NamespaceStatus phase=1 conditions=2:-*
Event metadata=1:ObjectMeta involvedObject=2:ObjectReference reason=3 message=4 source=5:EventSource
  firstTimestamp=6:t lastTimestamp=7:t count=8:i type=9 eventTime=10:u series=11:EventSeries? action=12
  related=13:ObjectReference? reportingComponent=14 reportingInstance=15
EventSource component=1 host=2
EventSeries count=1:i lastObservedTime=2:u
Binding metadata=1:ObjectMeta target=2:ObjectReference

Pod metadata=1:ObjectMeta spec=2:PodSpec status=3:-
PodTemplateSpec metadata=1:ObjectMeta spec=2:PodSpec
PodSpec volumes=1:-* containers=2:Container* restartPolicy=3 terminationGracePeriodSeconds=4:i? activeDeadlineSeconds=5:i?
  dnsPolicy=6 nodeSelector=7{} serviceAccountName=8 serviceAccount=9 nodeName=10 hostNetwork=11:B hostPID=12:B hostIPC=13:B
  securityContext=14:-? imagePullSecrets=15:LocalObjectReference* hostname=16 subdomain=17 affinity=18:-? schedulerName=19
  initContainers=20:Container* automountServiceAccountToken=21:B? tolerations=22:Toleration* hostAliases=23:-*
  priorityClassName=24 priority=25:i? dnsConfig=26:-? shareProcessNamespace=27:B? readinessGates=28:-* runtimeClassName=29?
  enableServiceLinks=30:B? preemptionPolicy=31? overhead=32:q{} topologySpreadConstraints=33:-* ephemeralContainers=34:-*
  setHostnameAsFQDN=35:B? os=36:-? hostUsers=37:B? schedulingGates=38:-* resourceClaims=39:-* resources=40:-?
Container name=1 image=2 command=3* args=4* workingDir=5 ports=6:ContainerPort* env=7:EnvVar*
  resources=8:ResourceRequirements volumeMounts=9:-*
  livenessProbe=10:Probe? readinessProbe=11:Probe? lifecycle=12:-? terminationMessagePath=13
  imagePullPolicy=14 securityContext=15:-? stdin=16:B stdinOnce=17:B tty=18:B envFrom=19:EnvFromSource*
  terminationMessagePolicy=20 volumeDevices=21:-* startupProbe=22:Probe? resizePolicy=23:-* restartPolicy=24?
ContainerPort name=1 hostPort=2:i containerPort=3:i protocol=4 hostIP=5
EnvVar name=1 value=2 valueFrom=3:EnvVarSource?
EnvVarSource fieldRef=1:ObjectFieldSelector? resourceFieldRef=2:-? configMapKeyRef=3:KeySelector? secretKeyRef=4:KeySelector?
ObjectFieldSelector apiVersion=1 fieldPath=2
KeySelector localObjectReference=1:LocalObjectReference^ key=2 optional=3:B?
EnvFromSource prefix=1 configMapRef=2:EnvSource? secretRef=3:EnvSource?
EnvSource localObjectReference=1:LocalObjectReference^ optional=2:B?
ResourceRequirements limits=1:q{} requests=2:q{} claims=3:-*
Probe handler=1:ProbeHandler^ initialDelaySeconds=2:i timeoutSeconds=3:i periodSeconds=4:i successThreshold=5:i
  failureThreshold=6:i terminationGracePeriodSeconds=7:i?
ProbeHandler exec=1:ExecAction? httpGet=2:HTTPGetAction? tcpSocket=3:TCPSocketAction? grpc=4:-?
ExecAction command=1*
HTTPGetAction path=1 port=2:x host=3 scheme=4 httpHeaders=5:HTTPHeader*
HTTPHeader name=1 value=2
TCPSocketAction port=1:x host=2
Toleration key=1 operator=2 value=3 effect=4 tolerationSeconds=5:i?

Deployment metadata=1:ObjectMeta spec=2:DeploymentSpec status=3:-
DeploymentSpec replicas=1:i? selector=2:LabelSelector? template=3:PodTemplateSpec strategy=4:DeploymentStrategy
  minReadySeconds=5:i revisionHistoryLimit=6:i? paused=7:B progressDeadlineSeconds=9:i?
DeploymentStrategy type=1 rollingUpdate=2:RollingUpdateDeployment?
RollingUpdateDeployment maxUnavailable=1:x? maxSurge=2:x?
ReplicaSet metadata=1:ObjectMeta spec=2:ReplicaSetSpec status=3:-
ReplicaSetSpec replicas=1:i? selector=2:LabelSelector? template=3:PodTemplateSpec minReadySeconds=4:i
Scale metadata=1:ObjectMeta spec=2:ScaleSpec status=3:-
ScaleSpec replicas=1:i
Lease metadata=1:ObjectMeta spec=2:LeaseSpec
LeaseSpec holderIdentity=1? leaseDurationSeconds=2:i? acquireTime=3:u? renewTime=4:u? leaseTransitions=5:i? strategy=6?
  preferredHolder=7?
Eviction metadata=1:ObjectMeta deleteOptions=2:DeleteOptions?

SelfSubjectReview metadata=1:ObjectMeta status=2:-
SelfSubjectAccessReview metadata=1:ObjectMeta spec=2:SubjectAccessReviewSpec status=3:-
SubjectAccessReview metadata=1:ObjectMeta spec=2:SubjectAccessReviewSpec status=3:-
SubjectAccessReviewSpec resourceAttributes=1:ResourceAttributes? nonResourceAttributes=2:NonResourceAttributes? user=3
  groups=4* extra=5:-* uid=6
ResourceAttributes namespace=1 verb=2 group=3 version=4 resource=5 subresource=6 name=7 fieldSelector=8:FieldAttributes?
  labelSelector=9:-?
FieldAttributes rawSelector=1 requirements=2:LabelSelectorRequirement*
NonResourceAttributes path=1 verb=2
SelfSubjectRulesReview metadata=1:ObjectMeta spec=2:SelfSubjectRulesReviewSpec status=3:-
SelfSubjectRulesReviewSpec namespace=1
"""

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "v1": ("ConfigMap", "Secret", "ServiceAccount", "Namespace", "Event", "Binding", "Pod", "DeleteOptions"),
    "apps/v1": ("Deployment", "ReplicaSet"),
    "autoscaling/v1": ("Scale",),
    "coordination.k8s.io/v1": ("Lease",),
    "policy/v1": ("Eviction",),
    "authentication.k8s.io/v1": ("SelfSubjectReview",),
    "authorization.k8s.io/v1": ("SelfSubjectAccessReview", "SubjectAccessReview", "SelfSubjectRulesReview"),
}
"""Which kinds can be sent, by apiVersion."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    type: str
    is_repeated: bool
    is_map: bool
    keeps_zero: bool
    is_inline: bool


_FIELD = re.compile(r"(\w+)=(\d+)(?::([\w-]+))?(\*|\{\})?(\?|\^)?")


def _read(text: str) -> dict[str, dict[int, Field]]:
    messages: dict[str, dict[int, Field]] = {}
    for paragraph in re.split(r"\n(?! )", text.strip()):
        name, *fields = paragraph.split() or [""]
        parsed = [_FIELD.fullmatch(field) for field in fields]
        assert all(parsed), paragraph
        messages[name] = {
            int(m[2]): Field(m[1], m[3] or "", m[4] == "*", m[4] == "{}", m[5] == "?", m[5] == "^") for m in parsed if m
        }
    return messages


MESSAGES: Final = _read(MESSAGES_TEXT)
