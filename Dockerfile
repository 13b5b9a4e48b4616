# Airflow with backup_sync: the image of docker-compose.yml.
FROM apache/airflow:3.3.2-python3.11

# requirements.txt and not requirements.lock: the lock is a whole development environment, with linters and without the
# PostgreSQL driver. Synchronizing to it would remove what the image needs, and installing it on top would replace the
# image's packages by versions that it was not built with. So requirements.txt pins what backup_sync itself uses, without
# hashes, and the rest stays as it is in the image wherever those allow it.
# Naming Airflow's version keeps pip from changing Airflow itself: if the two pins differ, the build fails.
COPY requirements.txt /opt/airflow/requirements.txt
RUN pip install --no-cache-dir "apache-airflow==${AIRFLOW_VERSION}" -r /opt/airflow/requirements.txt

# A volume takes over the owner of the directory it is mounted on; without this it would be root's.
RUN mkdir --mode=700 /opt/airflow/auth

COPY local/ /opt/airflow/local/
COPY plugins/ /opt/airflow/plugins/
COPY dags/ /opt/airflow/dags/

# The base image's own user, named here so that it stays so. The code above is root's and cannot be changed by it.
USER airflow
