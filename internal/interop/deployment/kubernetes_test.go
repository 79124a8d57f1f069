package deployment

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// decoder reads objects of Kubernetes by its own types, and refuses fields that they do not have and those that are given twice.
var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// hash is the end of the name of a generated object.
var hash = regexp.MustCompile(`-[a-z0-9]{10}$`)

// kustomized returns the objects of the base as kustomize builds it, by their kinds and names.
func kustomized(t *testing.T) map[string]string {
	t.Helper()
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "packaging", "kubernetes"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, o := range objects.Resources() {
		text, err := o.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		found[o.GetKind()+" "+hash.ReplaceAllString(o.GetName(), "")] = string(text)
	}
	return found
}

// decoded returns an object of the base.
func decoded[T any](t *testing.T, objects map[string]string, name string) *T {
	t.Helper()
	object, _, err := decoder.Decode([]byte(objects[name]), nil, nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	o, ok := object.(any).(*T)
	if !ok {
		t.Fatalf("%s is %T", name, object)
	}
	return o
}

// TestKubernetes builds the base with kustomize, holds each object to the types of Kubernetes, and the nodes to the restricted pod security
// standard and to how the issuer stops.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	objects := kustomized(t)
	if len(objects) != 7 {
		t.Errorf("%d objects, want 7", len(objects))
	}
	for name, text := range objects {
		if _, _, err := decoder.Decode([]byte(text), nil, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	nodes := decoded[appsv1.StatefulSet](t, objects, "StatefulSet issuer")
	migrate := decoded[batchv1.Job](t, objects, "Job issuer-migrate")
	settings := decoded[corev1.ConfigMap](t, objects, "ConfigMap issuer")
	for _, pod := range []corev1.PodSpec{nodes.Spec.Template.Spec, migrate.Spec.Template.Spec} {
		restricted(t, pod)
		volumes := make(map[string]corev1.Volume)
		for _, v := range pod.Volumes {
			volumes[v.Name] = v
		}
		for _, mount := range pod.Containers[0].VolumeMounts {
			if _, ok := volumes[mount.Name]; !ok {
				t.Errorf("there is no volume %s", mount.Name)
			}
		}
		if got := volumes["settings"].ConfigMap; got == nil || got.Name != settings.Name {
			t.Errorf("the settings are those of %+v, want %s", got, settings.Name)
		}
		if secret := volumes["secrets"].Secret; secret == nil || secret.DefaultMode == nil || *secret.DefaultMode != 0o440 {
			t.Errorf("the secrets are %+v, want a secret with mode 0440", secret)
		}
	}
	if len(settings.Data) != 1 {
		t.Errorf("the settings have %d files, want one", len(settings.Data))
	}
	checkSettings(t, settings.Data["issuer.yaml"], "/etc/issuer/secrets", "ISSUER_AUDIT__NODE=issuer-0")

	container := nodes.Spec.Template.Spec.Containers[0]
	if env := container.Env; len(env) != 1 || env[0].Name != "ISSUER_AUDIT__NODE" || env[0].ValueFrom.FieldRef.FieldPath != "metadata.name" {
		t.Errorf("env = %+v, want the name of the pod as the node of the audit log", env)
	}
	if *nodes.Spec.Replicas != 3 || nodes.Spec.ServiceName != "issuer-nodes" || objects["Service issuer-nodes"] == "" {
		t.Errorf("%d nodes of the service %s, want 3 of one that is there", *nodes.Spec.Replicas, nodes.Spec.ServiceName)
	}
	ports := make(map[string]bool)
	for _, p := range container.Ports {
		ports[p.Name] = true
	}
	for path, probe := range map[string]*corev1.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || !ports[probe.HTTPGet.Port.String()] {
			t.Errorf("the probe of %s is %+v", path, probe)
		}
	}
	pause := container.Lifecycle.PreStop.Sleep.Seconds
	if grace := *nodes.Spec.Template.Spec.TerminationGracePeriodSeconds; grace < pause+20 { // see shutdownTime of internal/issuer
		t.Errorf("a node has %d s to stop and waits for %d of them, want 20 more", grace, pause)
	}
	for _, name := range []string{"Service issuer", "Service issuer-nodes"} {
		service := decoded[corev1.Service](t, objects, name)
		for key, value := range service.Spec.Selector {
			if nodes.Spec.Template.Labels[key] != value {
				t.Errorf("%s selects %s=%s, which no node has", name, key, value)
			}
		}
		if !ports[service.Spec.Ports[0].TargetPort.String()] {
			t.Errorf("%s leads to no port of a node", name)
		}
	}
	budget := decoded[policyv1.PodDisruptionBudget](t, objects, "PodDisruptionBudget issuer")
	if budget.Spec.MaxUnavailable.IntValue() != 1 || budget.Spec.Selector.MatchLabels["app.kubernetes.io/component"] != "node" {
		t.Errorf("the budget is %+v, want one node", budget.Spec)
	}
	policy := decoded[networkingv1.NetworkPolicy](t, objects, "NetworkPolicy issuer")
	for _, rule := range policy.Spec.Ingress {
		if len(rule.From) == 0 || !ports[rule.Ports[0].Port.String()] {
			t.Errorf("the policy lets all in, or to no port: %+v", rule)
		}
	}
}

// restricted holds a pod to the restricted pod security standard, and its root to be read-only.
func restricted(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	own := pod.SecurityContext
	if !*own.RunAsNonRoot || *own.RunAsUser == 0 || own.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken {
		t.Errorf("the pod is not restricted: %+v", own)
	}
	for _, c := range pod.Containers {
		if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 ||
			s.Capabilities.Drop[0] != "ALL" || len(s.Capabilities.Add) > 0 {
			t.Errorf("the container is not restricted: %+v", s)
		}
	}
}

// TestKubernetesFindsMistakes holds that the check of TestKubernetes finds a wrong name and a wrong type, wherever they are.
func TestKubernetesFindsMistakes(t *testing.T) {
	t.Parallel()
	objects := kustomized(t)
	for name, change := range map[string][2]string{
		"StatefulSet issuer":         {"readOnlyRootFilesystem: true", "readonlyRootFilesystem: true"},
		"Job issuer-migrate":         {`backoffLimit: 6`, `backoffLimit: "six"`},
		"Service issuer":             {"port: 80\n", "port: [80]\n"},
		"NetworkPolicy issuer":       {"podSelector:", "podselector:"},
		"PodDisruptionBudget issuer": {"maxUnavailable: 1", "maxUnavailable: {one: 1}"},
		"ConfigMap issuer":           {"data:", "datas:"},
	} {
		wrong := strings.Replace(objects[name], change[0], change[1], 1)
		if wrong == objects[name] {
			t.Errorf("%s has no %q", name, change[0])
		} else if _, _, err := decoder.Decode([]byte(wrong), nil, nil); err == nil {
			t.Errorf("%s with %q is accepted", name, change[1])
		}
	}
	indent := regexp.MustCompile(`(?m)^(\s+)readinessProbe:`)
	twice := indent.ReplaceAllString(objects["StatefulSet issuer"], "${1}image: other\n${0}")
	if _, _, err := decoder.Decode([]byte(twice), nil, nil); err == nil {
		t.Error("a field that is given twice is accepted")
	}
}
